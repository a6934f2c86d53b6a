"""Read a table in CSV, TSV, or another text of separated cells."""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv

from worker.contracts.errors import UnreadableTable
from worker.contracts.reading import ReadingOptions
from worker.contracts.resources import Reading
from worker.tables.delimited.blank_lines import rows_of_lines
from worker.tables.delimited.blanks import with_tabs
from worker.tables.delimited.dialect import BLANKS, Dialect, find_dialect
from worker.tables.delimited.names import named_columns
from worker.tables.delimited.text_encoding import as_utf8, find_encoding
from worker.tables.files.raw_table import RawTable

CSV_BLOCK = 2**20
CSV_BLOCK_COLUMNS = 1000
"""Wider tables have larger blocks, so that each block has enough rows for its overhead per column."""
HEADER_BYTES = 2**20
ROWS_LOOKED_AT = 100
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def read_delimited(source: Path, usual: str, options: ReadingOptions) -> RawTable:
    """Open a text of separated cells, ``usual``: by what. ``options``: see ``readers.read``.

    Raises:
        UnreadableTable: it is not such a text.
    """
    encoding = options.encoding or find_encoding(source)
    text, kept = as_utf8(source, encoding)
    dialect = find_dialect(text, usual, options.separator)
    cut = dialect
    if dialect.separator == BLANKS:
        text, kept = with_tabs(text)
        cut = replace(dialect, separator="\t")
    return open_cut_text(CutText(text, kept, cut), header=options.header, told=(dialect.separator, encoding))


@dataclass(frozen=True)
class CutText:
    """A UTF-8 text and how it is cut into cells. ``kept`` holds its file."""

    path: Path
    kept: object
    dialect: Dialect


def open_cut_text(
    text: CutText, *, header: bool | None, told: tuple[str | None, str | None] = (None, None)
) -> RawTable:
    """Open a text of which is known how it is cut. ``header``: see ``readers.read``.

    ``told``: the separator and the encoding of the file that it is made of.

    Raises:
        UnreadableTable: it has no header, or one that cannot be read.
    """
    named_by_row = header is not False
    cells, behind = _names(text.path, text.dialect, header=named_by_row)
    named = named_columns(cells)
    skipped = text.dialect.skipped
    separator, encoding = told
    reading = Reading(
        separator=separator,
        encoding=encoding,
        header=named_by_row,
        skipped_rows=skipped,
        renamed=named.renamed if named_by_row else {},
        dropped_columns=[],
    )
    return RawTable(
        named.names,
        lambda: _batches(text, len(named.names), skipped + behind, header=named_by_row and not behind),
        guessed_header=header is None,
        reading=reading,
        unnamed=named.unnamed,
    )


def _names(text: Path, dialect: Dialect, *, header: bool) -> tuple[list[str], int]:
    """Return the cells that name the columns, and how many lines they take where they are fewer than the columns.

    R writes no name for the names of the rows; others end each row, but not the first, with a separator.
    """
    with text.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if b"\0" in start:
        raise UnreadableTable("the text holds NUL characters: it is a binary file, or its encoding is another")
    lines = io.StringIO(start.decode("utf-8-sig", errors="replace"), newline="")
    for _ in range(dialect.skipped):
        lines.readline()
    rows = dialect.reader(lines)
    try:
        first = next(filter(None, rows), None)
        behind = rows.line_num
        if first is None:
            raise UnreadableTable("the CSV has no header")
        if not header:
            return [""] * len(first), 0
    except csv.Error as error:
        raise UnreadableTable(f"the header of the CSV cannot be read: {error}") from error
    others: list[list[str]] = []
    with suppress(csv.Error):
        others.extend(itertools.islice(filter(None, rows), ROWS_LOOKED_AT))
    if len(others) > 1 and all(len(row) == len(first) + 1 for row in others):
        return ([*first, ""] if all(not row[-1] for row in others) else ["", *first]), behind
    return first, 0


def _batches(source: CutText, width: int, skipped: int, *, header: bool) -> Iterator[list[pa.Array]]:
    """Yield the cells of a text behind so many lines and, where it has one, its header."""
    text, dialect = source.path, source.dialect
    placeholders = [str(index) for index in range(width)]
    block = CSV_BLOCK * max(1, width // CSV_BLOCK_COLUMNS)
    try:
        reader = pa_csv.open_csv(
            text,
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=block, column_names=placeholders, skip_rows=skipped
            ),
            parse_options=pa_csv.ParseOptions(
                newlines_in_values=True,
                delimiter=dialect.separator,
                quote_char=dialect.quote,
                escape_char=dialect.escape or False,
                ignore_empty_lines=width > 1,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(placeholders, pa.string()), strings_can_be_null=False
            ),
        )
        last = ""
        if width == 1:
            lines = (batch.columns[0] for batch in reader)
            for cells in rows_of_lines(text, lines, named=header):
                last = cells[-1].as_py() if len(cells) else last
                yield [cells]
        else:
            for batch in reader:
                columns = batch.columns
                if len(batch):
                    last = columns[-1][-1].as_py()
                yield [column[1:] for column in columns] if header else columns
                header = False
        _check_last_quote(text, last, dialect)
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
        if "UTF8" in str(error):
            raise UnreadableTable("the text is not utf-8; say its encoding, or save it as UTF-8") from error
        raise


def _check_last_quote(source: Path, last: str, dialect: Dialect) -> None:
    """Check that a quoted last cell, ``last``, has a closing quote.

    pyarrow accepts the end of the file in place of the quote. In other cells an open quote makes the row ragged.

    Raises:
        UnreadableTable: it has none; the message names the line of the opening quote.
    """
    quote = dialect.quote.encode()
    written = quote + last.replace(dialect.quote, 2 * dialect.quote).encode()
    with source.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(written) - 3))
        end = file.read()
        opens_at = size - len(written)
        closed = end.rstrip(b"\r\n").endswith(written + quote)
        if (
            closed
            or not end.endswith(written)
            or (opens_at and end[-len(written) - 1] not in dialect.separator.encode() + b"\r\n")
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
