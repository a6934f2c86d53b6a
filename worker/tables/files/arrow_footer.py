"""Check the sizes in the footer of an Arrow file."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from worker.contracts.errors import UnreadableTable
from worker.tables.files.size_limits import check_messages, field_place, inner_place

MAGIC = b"ARROW1"
MAX_FOOTER_BYTES = 16 * 2**20
DICTIONARIES, RECORD_BATCHES = 2, 3
"""Fields of the table Footer in Arrow's File.fbs."""
BLOCK = struct.Struct("<qi4xq")
"""Offset of a message, and the bytes of its metadata and its body."""


def check_arrow_file(source: Path, max_bytes: int) -> None:
    """Check the sizes that the compressed buffers of an Arrow file declare.

    Raises:
        TableTooLarge: they exceed the limits.
        UnreadableTable: the file has no footer, or the footer is invalid.
    """
    with pa.memory_map(str(source)) as file:
        check_messages(_messages(file), max_bytes)


def _messages(file: pa.MemoryMappedFile) -> Iterator[pa.ipc.Message]:
    size = file.size()
    left = size
    for offset, head, body in _blocks(_footer(file, size)):
        left -= head + body
        # overlapping pieces would be decompressed as often as the footer names them
        if min(offset, head, body) < 0 or offset + head + body > size or left < 0:
            raise UnreadableTable("the footer of the Arrow file names pieces where the file has none")
        file.seek(offset)
        yield pa.ipc.read_message(file)


def _footer(file: pa.MemoryMappedFile, size: int) -> memoryview:
    tail = len(MAGIC) + 4
    if size < tail:
        raise UnreadableTable("the Arrow file has no footer: it was cut off")
    file.seek(size - tail)
    end = file.read(tail)
    [length] = struct.unpack_from("<i", end)
    if end[4:] != MAGIC:
        raise UnreadableTable("the Arrow file has no footer: it was cut off")
    if not 0 < length <= min(MAX_FOOTER_BYTES, size - tail):
        raise UnreadableTable(f"the footer of the Arrow file has {length} bytes, which cannot be")
    file.seek(size - tail - length)
    return memoryview(file.read(length))


def _blocks(footer: memoryview) -> Iterator[tuple[int, int, int]]:
    try:
        [root] = struct.unpack_from("<I", footer)
        for number in (DICTIONARIES, RECORD_BATCHES):
            if field_place(footer, root, number) is None:
                continue
            vector = inner_place(footer, root, number)
            assert vector is not None  # noqa: S101 - the field is there
            [count] = struct.unpack_from("<I", footer, vector)
            yield from BLOCK.iter_unpack(footer[vector + 4 : vector + 4 + BLOCK.size * count])
    except (struct.error, IndexError) as error:
        raise UnreadableTable("the footer of the Arrow file is broken") from error
