"""Files of every form as a stream of record batches, or a sentence about what is wrong with them and where.

``read`` gives a RawTable whose batches can be gone through again: the types of a text form are known only at its end.
"""

import csv
import io
import json
import lzma
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc
import pyarrow.parquet as pq

from worker.contracts.base import MOST_COLUMNS
from worker.contracts.errors import UnreadableTable, says_full
from worker.tables import media
from worker.tables.expansion import (
    check_arrow,
    check_columns,
    check_parquet,
    check_texts,
)
from worker.tables.json_parts import JSON_SHAPE, json_parts
from worker.tables.npz import arrays
from worker.tables.values import type_of

BATCH_ROWS = 16_384
BATCH_CELLS = 2**22
ARROW_FILE_START, ARROW_FILE_END = b"ARROW1\0\0", b"ARROW1"
LONGEST_FOOTER = 16 * 2**20
CSV_BLOCK = 2**20
CSV_BLOCK_COLUMNS = 1000
"""A block of a wider table is larger, so that each has enough rows for the work that a block costs for each column."""
OTHER_SEPARATORS = (";", "\t", "|")
LONGEST_NAME = 1000
NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""NUL and halves of surrogate pairs: no text that is stored holds them."""
HEADER_BYTES = 2**20
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
NOT_AS_SAID = (
    pa.ArrowException,
    OSError,
    ValueError,
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,  # zipfile: encrypted, or compressed in an unknown way
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,  # numpy: the header of an array
    SyntaxError,
    SystemError,  # numpy: a text of its own with what is no character
)
"""What libraries raise over bytes that are not what they should be."""


@dataclass(frozen=True)
class RawTable:
    """Column names, and batches of columns without a name of their own. ``textual``: all columns are untyped texts."""

    names: list[str]
    batches: Callable[[], Iterator[list[pa.Array]]]
    textual: bool = False


@dataclass(frozen=True)
class Limits:
    """What a table may take at most, once it is read."""

    max_bytes: int
    max_cells: int


def read(source: Path, media_type: str, limits: Limits) -> RawTable:
    """Open a file. Reading its batches may raise the same errors later.

    Raises:
        UnreadableTable: the file is not what ``media_type`` says, or its columns have no proper names.
        TableTooLarge: it says of itself that it is larger than ``limits``.
    """
    with source.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UnreadableTable("the body is empty; a table has a header and at least one row")
    looks = media.sniff(start)
    if looks != media_type and (looks is not None or media_type not in (media.CSV, media.JSON)):
        raise UnreadableTable(f"the Content-Type says {media_type}, but the body looks like {looks or 'text'}")
    readers: dict[str, Callable[[], RawTable]] = {
        media.CSV: lambda: _csv(source),
        media.PARQUET: lambda: _parquet(source, limits),
        media.ARROW_STREAM: lambda: _arrow(source, 0, limits),
        media.ARROW_FILE: lambda: _arrow_file(source, limits),
        media.NPZ: lambda: _npz(source, limits.max_bytes),
        media.JSON: lambda: _json(source),
    }
    with _errors_named(media_type):
        table = readers[media_type]()
    _check_names(table.names)
    return RawTable(table.names, lambda: _guarded(table, media_type), table.textual)


def _guarded(table: RawTable, media_type: str) -> Iterator[list[pa.Array]]:
    with _errors_named(media_type):
        yield from table.batches()


@contextmanager
def _errors_named(media_type: str) -> Iterator[None]:
    try:
        yield
    except NOT_AS_SAID as error:
        if isinstance(error, OSError) and says_full(error):
            raise  # of a file that is unpacked: it says nothing of the body
        raise UnreadableTable(f"the body cannot be read as {media_type}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _check_names(names: list[str]) -> None:
    if not names:
        raise UnreadableTable("the table has no columns")
    check_columns(len(names))
    seen: set[str] = set()
    for index, name in enumerate(names, 1):
        if not name.strip():
            raise UnreadableTable(f"column {index} has no name; the first row of a table names its columns")
        if len(name) > LONGEST_NAME or NO_TEXT.search(name):
            raise UnreadableTable(
                f"the name of column {index} is longer than {LONGEST_NAME} characters, or holds NUL or half a character"
            )
        if name in seen:
            raise UnreadableTable(f"two columns are named {name!r}; names must differ")
        seen.add(name)


def _csv(source: Path) -> RawTable:
    names = _csv_header(source)

    def batches() -> Iterator[list[pa.Array]]:
        placeholders = [str(index) for index in range(len(names))]
        block = CSV_BLOCK * max(1, len(names) // CSV_BLOCK_COLUMNS)
        try:
            reader = pa_csv.open_csv(
                source,
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=block, column_names=placeholders),
                parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(placeholders, pa.string()), strings_can_be_null=False
                ),
            )
            first = True
            last = ""
            for batch in reader:
                columns = batch.columns
                if len(batch):
                    last = columns[-1][-1].as_py()
                yield [column[1:] for column in columns] if first else columns
                first = False
            _check_last_quote(source, last)
        except pa.ArrowInvalid as error:
            # not by an invalid_row_handler: it is never called, noisily, for a row that is not UTF-8
            if ragged := RAGGED.search(str(error)):
                row, expected, found = ragged.groups()
                raise UnreadableTable(
                    f"the CSV is ragged: row {row} has {found} values and the header {expected}"
                ) from error
            if "UTF8" in str(error) or "UTF-8" in str(error):
                raise UnreadableTable("the CSV is not UTF-8 text; save it in that encoding") from error
            raise

    return RawTable(names, batches, textual=True)


def _check_last_quote(source: Path, last: str) -> None:
    """Check that a quote before the last cell, ``last``, has one behind it.

    pyarrow takes the file's end for the quote's, and the cell for whole. In other cells an open quote makes the row
    ragged.

    Raises:
        UnreadableTable: it has none; the line where it opens is named.
    """
    written = b'"' + last.replace('"', '""').encode()
    with source.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(written) - 3))
        end = file.read()
        opens_at = size - len(written)
        closed = end.rstrip(b"\r\n").endswith(written + b'"')
        if closed or not end.endswith(written) or (opens_at and end[-len(written) - 1] not in b",\r\n"):
            return
        file.seek(0)
        line = 1 + sum(block.count(b"\n") for block in _blocks(file, opens_at))
    raise UnreadableTable(f"the CSV ends inside a quote that opens on line {line}; close the quote")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the next ``size`` bytes, a block at a time."""
    while size and (block := file.read(min(CSV_BLOCK, size))):
        size -= len(block)
        yield block


def _csv_header(source: Path) -> list[str]:
    with source.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if b"\0" in start:
        raise UnreadableTable("the CSV holds NUL bytes: it is a binary file or UTF-16 text; save it as UTF-8")
    text = start.decode("utf-8-sig", errors="replace")
    try:
        header = next((row for row in csv.reader(io.StringIO(text, newline="")) if row), None)
    except csv.Error as error:
        raise UnreadableTable(f"the header of the CSV cannot be read: {error}") from error
    if header is None:
        raise UnreadableTable("the CSV has no header")
    if len(header) == 1 and (other := next((one for one in OTHER_SEPARATORS if one in header[0]), None)):
        raise UnreadableTable(
            f"the CSV has a single column, named {header[0][:80]!r}: its separator seems to be {other!r}; "
            "separate the cells by commas, and write decimals with a point"
        )
    return header


def _parquet(source: Path, limits: Limits) -> RawTable:
    with _opened_parquet(source) as file:
        by_dictionary = check_parquet(source, file.metadata, limits.max_bytes, limits.max_cells)
        schema = file.schema_arrow
    _check_types(schema)
    # the lists of a schema are made anew each time that they are asked for
    names, types = schema.names, schema.types
    texts = [names[index] for index in sorted(by_dictionary) if _is_text(types[index])]

    def batches() -> Iterator[list[pa.Array]]:
        # texts that a dictionary holds once are not copied out before they are measured
        with _opened_parquet(source, read_dictionary=texts) as file:
            for batch in file.iter_batches(batch_size=_rows_at_once(len(names)), use_threads=False):
                yield _measured(batch)

    return RawTable(names, batches)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _opened_parquet(source: Path, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(
        source, thrift_string_size_limit=LONGEST_FOOTER, thrift_container_size_limit=5 * MOST_COLUMNS, **options
    )


def _arrow_file(source: Path, limits: Limits) -> RawTable:
    """Read a file as the stream that it holds between its first bytes and its footer."""
    with source.open("rb") as file:
        file.seek(-len(ARROW_FILE_END), 2)
        if file.read() != ARROW_FILE_END:
            raise UnreadableTable("the Arrow file has no footer: it was cut off")
    return _arrow(source, len(ARROW_FILE_START), limits)


def _arrow(source: Path, offset: int, limits: Limits) -> RawTable:
    with _opened_arrow(source, offset) as reader:
        schema = reader.schema
    check_columns(len(schema))
    _check_types(schema)
    check_arrow(source, offset, limits.max_bytes)

    def batches() -> Iterator[list[pa.Array]]:
        with _opened_arrow(source, offset) as reader:
            for batch in reader:
                yield _measured(batch)

    return RawTable(list(schema.names), batches)


@contextmanager
def _opened_arrow(source: Path, offset: int) -> Iterator[pa.ipc.RecordBatchStreamReader]:
    with pa.memory_map(str(source)) as file:
        file.seek(offset)
        with pa.ipc.open_stream(file) as reader:
            yield reader


def _check_types(schema: pa.Schema) -> None:
    for field in schema:
        type_of(field.name, field.type)


def _measured(batch: pa.RecordBatch) -> list[pa.Array]:
    """Return the columns: first that they have the memory that they need, then their sizes, then all they hold."""
    batch.validate()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        check_texts(name, column)
    batch.validate(full=True)
    return list(batch.columns)


def _rows_at_once(columns: int) -> int:
    return max(1, min(BATCH_ROWS, BATCH_CELLS // max(columns, 1)))


def _npz(source: Path, max_bytes: int) -> RawTable:
    found = arrays(source, max_bytes)
    X = found["X"]
    y = found["y"] if "y" in found else np.empty((*X.shape[:1], 0))
    given = found.get("feature_names")
    if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y):
        raise UnreadableTable(f"the npz needs X [n, d] and y [n] or [n, c]; X has shape {X.shape} and y {y.shape}")
    # before there is a name for each: a few bytes can say that there are billions
    check_columns(X.shape[1] + (1 if y.ndim == 1 else y.shape[1]))
    outputs = ["y"] if y.ndim == 1 else [f"y{index}" for index in range(y.shape[1])]
    if given is not None and given.size != X.shape[1]:
        raise UnreadableTable(f"feature_names has {given.size} names and X {X.shape[1]} columns")
    names = [f"x{index}" for index in range(X.shape[1])] if given is None else [str(name) for name in given.ravel()]
    Y = y[:, None] if y.ndim == 1 else y

    def batches() -> Iterator[list[pa.Array]]:
        step = _rows_at_once(X.shape[1])
        for start in range(0, len(X), step):
            parts = [_native(part[start : start + step]) for part in (X, Y)]
            yield [pa.array(part[:, index]) for part in parts for index in range(part.shape[1])]

    return RawTable(names + outputs, batches)


def _native(block: np.ndarray) -> np.ndarray:
    """Return a copy in memory, in this machine's order of bytes."""
    return np.array(block, block.dtype.newbyteorder("="))


def _json(source: Path) -> RawTable:
    names = _json_names(source)
    kinds: list[set[type]] = [set() for _ in names]
    for row in _json_rows(source, len(names)):
        for kind, value in zip(kinds, row, strict=True):
            kind.add(type(value))
    as_text = [bool(kind - {type(None), bool}) and bool(kind - {type(None), int, float}) for kind in kinds]

    def batches() -> Iterator[list[pa.Array]]:
        block: list[list[Any]] = []
        for row in _json_rows(source, len(names)):
            block.append(row)
            if len(block) == _rows_at_once(len(names)):
                yield _json_columns(block, as_text, kinds)
                block = []
        if block:
            yield _json_columns(block, as_text, kinds)

    return RawTable(names, batches)


def _json_columns(rows: list[list[Any]], as_text: list[bool], kinds: list[set[type]]) -> list[pa.Array]:
    columns = []
    for values, text, kind in zip(zip(*rows, strict=True), as_text, kinds, strict=True):
        if text:
            texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
            columns.append(pa.array(texts, pa.string()))
        elif bool in kind:
            columns.append(pa.array(values, pa.bool_()))
        else:
            columns.append(pa.array([None if v is None else float(v) for v in values], pa.float64()))
    return columns


def _json_names(source: Path) -> list[str]:
    names = next((values for part, values in json_parts(source) if part == "columns"), None)
    if names is None or not all(isinstance(name, str) for name in names):
        raise UnreadableTable(f'"columns" is missing or holds other things than names; {JSON_SHAPE}')
    return names


def _json_rows(source: Path, width: int) -> Iterator[list[Any]]:
    number = 0
    for part, row in json_parts(source):
        if part != "row":
            continue
        number += 1
        if len(row) != width:
            raise UnreadableTable(f"row {number} has {len(row)} values and the table {width} columns")
        yield row
