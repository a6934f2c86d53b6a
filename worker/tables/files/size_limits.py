"""Check the size of a columnar file before it is read.

Compressed pages, dictionaries and views let a few hundred bytes expand to gigabytes, and the libraries allocate the
memory first. So these checks sum the sizes that the file declares, and measure texts before they are copied.
"""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables.files.parquet_pages import pages

MAX_PIECE_BYTES = 2**29
"""Per record batch, or per column of a row group, once decompressed."""
MAX_TEXT_LENGTH = 2**20
MAX_BATCH_TEXT = 2**28
"""Bytes of one column's texts in one batch, with repetitions."""
MAX_DIRECTORY_BYTES = 2**20
DICTIONARY = {2, 8}
"""Numbers of PLAIN_DICTIONARY and RLE_DICTIONARY in parquet.thrift."""
EXPANDING = 7
"""DELTA_BYTE_ARRAY: values share prefixes with the previous one, so each may be as long as all before it."""

_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2


def check_parquet(source: Path, metadata: pq.FileMetaData, max_bytes: int, max_cells: int) -> set[int]:
    """Check the number of rows in the footer of a Parquet file, and the sizes in its page headers.

    Returns the columns with dictionary-encoded pages, in which few bytes can be long texts.

    Raises:
        TableTooLarge: the sizes exceed the limits.
        UnreadableTable: the size of the texts' encoding is unknown, or a page header is broken.
    """
    check_columns(metadata.num_columns)
    if metadata.num_rows * metadata.num_columns > max_cells:
        raise TableTooLarge(
            f"the table has more than {max_cells} cells: {metadata.num_columns} columns and {metadata.num_rows} rows; "
            "send fewer"
        )
    total = 0
    by_dictionary: set[int] = set()
    for index, column in pages(source, metadata):
        encodings = {page.encoding for page in column}
        if EXPANDING in encodings:
            raise UnreadableTable("a column is encoded as DELTA_BYTE_ARRAY; write it plain or with a dictionary")
        if encodings & DICTIONARY:
            by_dictionary.add(index)
        size = sum(page.uncompressed_bytes for page in column)
        _check_piece(size)
        total += size
        _check_total(total, max_bytes)
    return by_dictionary


def check_arrow(source: Path, max_bytes: int) -> None:
    """Check the sizes that the compressed buffers of an Arrow stream declare.

    Raises:
        TableTooLarge: they exceed the limits.
        UnreadableTable: a message of the stream is broken.
    """
    with pa.memory_map(str(source)) as file:
        check_messages(iter(pa.ipc.MessageReader.open_stream(file)), max_bytes)


def check_messages(messages: Iterable[pa.ipc.Message], max_bytes: int) -> None:
    """Check the sizes that the compressed buffers of messages declare.

    Raises:
        TableTooLarge: they exceed the limits.
        UnreadableTable: a message is broken.
    """
    total = 0
    for message in messages:
        size = _decompressed(message)
        _check_piece(size)
        total += size
        _check_total(total, max_bytes)


def check_texts(name: str, column: pa.Array) -> None:
    """Measure the texts of a column of one batch before they are read.

    Raises:
        TableTooLarge: one text, or all of them together, exceed the limits.
    """
    lengths = _lengths(column)
    if lengths is None or not len(lengths):
        return
    if int(lengths.max()) > MAX_TEXT_LENGTH:
        raise TableTooLarge(f"column {name!r} holds a text of more than {MAX_TEXT_LENGTH} bytes")
    if int(lengths.sum(dtype=np.int64)) > MAX_BATCH_TEXT:
        raise TableTooLarge(
            f"column {name!r} holds more than {MAX_BATCH_TEXT} bytes of text in {len(column)} rows; shorten its texts"
        )


def check_columns(count: int) -> None:
    """Refuse a table that is too wide.

    Raises:
        TableTooLarge: it is.
    """
    if count > MAX_COLUMNS:
        raise TableTooLarge(f"the table has more than {MAX_COLUMNS} columns; send fewer")


def check_directory(source: Path) -> None:
    """Check the declared length of the directory of a zip file, which is read into memory at once.

    Raises:
        TableTooLarge: a directory of hundreds of thousands of members.
    """
    with source.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - 2**16 - 100))
        tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + 22:
        return  # not a zip file: the reader reports it
    [size] = struct.unpack_from("<I", tail, end + 12)
    if size > MAX_DIRECTORY_BYTES or _END_64 in tail:
        raise TableTooLarge(
            f"the zip file has too many members: its directory is longer than {MAX_DIRECTORY_BYTES} bytes"
        )


def _check_piece(size: int) -> None:
    if size > MAX_PIECE_BYTES:
        raise TableTooLarge(
            f"a part of the table takes {size} bytes once decompressed and at most {MAX_PIECE_BYTES} are allowed; "
            "write it in smaller row groups or record batches"
        )


def _check_total(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TableTooLarge(f"the table takes more than {max_bytes} bytes once decompressed")


def _lengths(column: pa.Array) -> np.ndarray | None:
    """Return the bytes of each text, None for other types. Offsets may be invalid: no text is read."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        inner = _lengths(column.dictionary)
        indices = column.indices.drop_null()
        return None if inner is None else np.asarray(pa.array(inner).take(indices), np.int64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.asarray(pc.binary_length(column).fill_null(0), np.int64)
    if pa.types.is_string_view(kind):
        views = column.buffers()[1]
        numbers = np.frombuffer(views, np.int32, 4 * len(column), 16 * column.offset)
        return np.asarray(numbers[::4], np.int64)
    return None


def _decompressed(message: pa.ipc.Message) -> int:
    """Return the decompressed bytes of a message's compressed buffers; 0 if none is compressed.

    The metadata is a FlatBuffer of the type Message in Arrow's Message.fbs.
    """
    table = memoryview(message.metadata)
    try:
        place = struct.unpack_from("<I", table, 0)[0]
        kind = field_place(table, place, 1)
        batch = inner_place(table, place, 2)
        if kind is None or batch is None or table[kind] not in (_RECORD_BATCH, _DICTIONARY_BATCH):
            return 0
        if table[kind] == _DICTIONARY_BATCH:
            batch = inner_place(table, batch, 1)
        buffers = None if batch is None else inner_place(table, batch, 2)
        if batch is None or buffers is None or field_place(table, batch, 3) is None:
            return 0
        [count] = struct.unpack_from("<I", table, buffers)
        body = memoryview(message.body)
        total = 0
        for offset, length in struct.iter_unpack("<qq", table[buffers + 4 : buffers + 4 + 16 * count]):
            if length >= 8:
                total += max(0, struct.unpack_from("<q", body, offset)[0])
        return total
    except (struct.error, IndexError) as error:
        raise UnreadableTable("a message of the Arrow stream is broken") from error


def field_place(table: memoryview, place: int, number: int) -> int | None:
    """Return the offset of a field of a FlatBuffer table, None if it is absent."""
    vtable = place - int(struct.unpack_from("<i", table, place)[0])
    [size] = struct.unpack_from("<H", table, vtable)
    if 4 + 2 * number >= size:
        return None
    offset = int(struct.unpack_from("<H", table, vtable + 4 + 2 * number)[0])
    return place + offset if offset else None


def inner_place(table: memoryview, place: int, number: int) -> int | None:
    """Return the offset of the table or vector that a field points to, None if the field is absent."""
    field = field_place(table, place, number)
    return None if field is None else field + int(struct.unpack_from("<I", table, field)[0])
