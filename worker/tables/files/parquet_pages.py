"""Read the page headers of a Parquet file, independent of its footer.

Parquet readers allocate the memory that a page header declares. The headers are structs in Thrift's compact protocol;
parquet.thrift of parquet-format defines PageHeader.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from worker.contracts.errors import TableTooLarge, UnreadableTable

MAX_PAGES = 200_000
"""Per file. Writers make pages of about 1 MiB by default."""
MAX_DEPTH = 8
MAX_FIELDS = 1000
MAX_NUMBER_LENGTH = 10
SLACK_BYTES = 100
"""Files of old parquet-mr writers are read this many bytes past the end in their footer."""

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DATA_PAGE, _DATA_PAGE_V2 = 5, 8

Struct = dict[int, "int | Struct"]


@dataclass(frozen=True)
class Page:
    """``encoding``: number of the values' Encoding in parquet.thrift; None for a dictionary or an index."""

    uncompressed_bytes: int
    encoding: int | None


def pages(source: Path, metadata: pq.FileMetaData) -> Iterator[tuple[int, list[Page]]]:
    """Yield the index and the pages of every column of every row group.

    Raises:
        UnreadableTable: a header is invalid, or pages are outside of the file.
        TableTooLarge: more than ``MAX_PAGES`` pages.
    """
    left = MAX_PAGES
    slack = SLACK_BYTES if (metadata.created_by or "").lower().startswith("parquet-mr") else 0
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_:
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            # readers skip groups without rows, whose offsets are unreliable
            for index in range(group.num_columns if group.num_rows else 0):
                chunk = group.column(index)
                # some writers give 0 as the offset of a missing dictionary
                start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
                chunk_pages = _chunk_pages(bytes_, start, start + chunk.total_compressed_size, slack, left)
                left -= len(chunk_pages)
                yield index, chunk_pages


def _chunk_pages(file: mmap.mmap, start: int, end: int, slack: int, most: int) -> list[Page]:
    if not 0 <= start <= end <= len(file):
        raise UnreadableTable("the footer of the Parquet file names pages where the file has none")
    page_list: list[Page] = []
    place = start
    while place < min(end + slack, len(file)):
        if len(page_list) == most:
            raise TableTooLarge(f"the Parquet file has more than {MAX_PAGES} pages; write it with larger ones")
        try:
            page, place = _page(file, place)
        except UnreadableTable:
            if place < end:
                raise
            break
        page_list.append(page)
    return page_list


def _page(file: mmap.mmap, place: int) -> tuple[Page, int]:
    """Return the page at ``place``, and the offset of the next one."""
    header = _ThriftReader(file, place, len(file))
    fields = header.struct()
    uncompressed, compressed = fields.get(2), fields.get(3)
    if not isinstance(uncompressed, int) or not isinstance(compressed, int) or min(uncompressed, compressed) < 0:
        raise UnreadableTable("the header of a page of the Parquet file has no sizes")
    return Page(uncompressed, _encoding(fields)), header.place + compressed


def _encoding(fields: Struct) -> int | None:
    for page, field in ((_DATA_PAGE, 2), (_DATA_PAGE_V2, 4)):
        inner = fields.get(page)
        if isinstance(inner, dict):
            encoding = inner.get(field)
            return encoding if isinstance(encoding, int) else None
    return None


class _ThriftReader:
    """Reads one Thrift struct as Arrow does; it returns fields of 32 bits and structs, and skips the others."""

    def __init__(self, file: mmap.mmap, place: int, end: int) -> None:
        self._file = file
        self._end = end
        self._fields = 0
        self.place = place

    def struct(self, depth: int = 0) -> Struct:
        if depth > MAX_DEPTH:
            raise _broken()
        fields: Struct = {}
        number = 0
        while head := self._byte():
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise _broken()
            # field numbers are truncated to 16 bits
            number = _cut(number + (head >> 4) if head >> 4 else self._signed())
            value = self._value(head & 15, depth)
            if value is not None:
                fields[number] = value
        return fields

    def _value(self, kind: int, depth: int) -> "int | Struct | None":
        if kind == _I32:
            return self._signed()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_I16, _I64):
            self._number()
        elif kind in (_BYTE, _DOUBLE, _BINARY):
            self._pass({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._number())
        elif kind not in (_TRUE, _FALSE):
            # page headers have no lists, sets and maps
            raise _broken()
        return None

    def _byte(self) -> int:
        self._pass(1)
        return self._file[self.place - 1]

    def _pass(self, count: int) -> None:
        self.place += count
        if self.place > self._end:
            raise _broken()

    def _number(self) -> int:
        value = 0
        for index in range(MAX_NUMBER_LENGTH):
            byte = self._byte()
            value |= (byte & 127) << 7 * index
            if byte < 128:
                return value
        raise _broken()

    def _signed(self) -> int:
        value = self._number()
        return value >> 1 ^ -(value & 1)


def _cut(number: int) -> int:
    return (number + 2**15) % 2**16 - 2**15


def _broken() -> UnreadableTable:
    return UnreadableTable("the header of a page of the Parquet file is broken")
