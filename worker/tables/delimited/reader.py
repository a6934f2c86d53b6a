"""Read a table in CSV or TSV."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv

from worker.contracts.errors import UnreadableTable
from worker.tables.delimited.blank_lines import rows_of_lines
from worker.tables.files.raw_table import NUMBERED, RawTable

CSV_BLOCK = 2**20
CSV_BLOCK_COLUMNS = 1000
"""Wider tables have larger blocks, so that each block has enough rows for its overhead per column."""
SEPARATORS = (";", "\t", "|", ",")
NAMED_SEPARATORS = {",": "commas", "\t": "tabs, or say text/csv"}
HEADER_BYTES = 2**20
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def read_csv(source: Path, separator: str, header: bool | None) -> RawTable:
    """Open a text of cells separated by ``separator``. ``header``: see ``readers.read``.

    Raises:
        UnreadableTable: it is not such a text.
    """
    first_row = _first_row(source, separator)
    names = [f"{NUMBERED}{number}" for number in range(1, len(first_row) + 1)] if header is False else first_row

    def batches() -> Iterator[list[pa.Array]]:
        placeholders = [str(index) for index in range(len(names))]
        block = CSV_BLOCK * max(1, len(names) // CSV_BLOCK_COLUMNS)
        try:
            reader = pa_csv.open_csv(
                source,
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=block, column_names=placeholders),
                parse_options=pa_csv.ParseOptions(
                    newlines_in_values=True, delimiter=separator, ignore_empty_lines=len(names) > 1
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(placeholders, pa.string()), strings_can_be_null=False
                ),
            )
            named = header is not False
            last = ""
            if len(names) == 1:
                lines = (batch.columns[0] for batch in reader)
                for cells in rows_of_lines(source, lines, named=named):
                    last = cells[-1].as_py() if len(cells) else last
                    yield [cells]
            else:
                for batch in reader:
                    columns = batch.columns
                    if len(batch):
                        last = columns[-1][-1].as_py()
                    yield [column[1:] for column in columns] if named else columns
                    named = False
            _check_last_quote(source, last, separator)
        except pa.ArrowInvalid as error:
            # an invalid_row_handler fails on rows that are not UTF-8
            if ragged := RAGGED.search(str(error)):
                row, expected, actual = ragged.groups()
                raise UnreadableTable(
                    f"the CSV is ragged: row {row} has {actual} values and the header {expected}"
                ) from error
            if "straddl" in str(error):
                raise UnreadableTable(
                    f"a row of the CSV is longer than {block // 2**20} MiB, or an open quote makes it so"
                ) from error
            if "UTF8" in str(error) or "UTF-8" in str(error):
                raise UnreadableTable("the CSV is not UTF-8 text; save it in that encoding") from error
            raise

    return RawTable(names, batches, guessed_header=header is None)


def _check_last_quote(source: Path, last: str, separator: str) -> None:
    """Check that a quoted last cell, ``last``, has a closing quote.

    pyarrow accepts the end of the file in place of the quote. In other cells an open quote makes the row ragged.

    Raises:
        UnreadableTable: it has none; the message names the line of the opening quote.
    """
    written = b'"' + last.replace('"', '""').encode()
    with source.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(written) - 3))
        end = file.read()
        opens_at = size - len(written)
        closed = end.rstrip(b"\r\n").endswith(written + b'"')
        if (
            closed
            or not end.endswith(written)
            or (opens_at and end[-len(written) - 1] not in separator.encode() + b"\r\n")
        ):
            return
        file.seek(0)
        line = 1 + sum(block.count(b"\n") for block in _blocks(file, opens_at))
    raise UnreadableTable(f"the CSV ends inside a quote that opens on line {line}; close the quote")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the next ``size`` bytes, a block at a time."""
    while size and (block := file.read(min(CSV_BLOCK, size))):
        size -= len(block)
        yield block


def _first_row(source: Path, separator: str) -> list[str]:
    with source.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if b"\0" in start:
        raise UnreadableTable("the CSV holds NUL bytes: it is a binary file or UTF-16 text; save it as UTF-8")
    text = start.decode("utf-8-sig", errors="replace")
    try:
        header = next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row), None)
    except csv.Error as error:
        raise UnreadableTable(f"the header of the CSV cannot be read: {error}") from error
    if header is None:
        raise UnreadableTable("the CSV has no header")
    others = (candidate for candidate in SEPARATORS if candidate != separator and candidate in header[0])
    if len(header) == 1 and (other := next(others, None)):
        raise UnreadableTable(
            f"the CSV has a single column, named {header[0][:80]!r}: its separator seems to be {other!r}; "
            f"separate the cells by {NAMED_SEPARATORS[separator]}, and write decimals with a point"
        )
    return header
