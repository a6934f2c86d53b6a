"""How a text is cut into cells: its separator, its quotes, and the lines in front of the table."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from worker.tables.delimited.blanks import has_columns_of_blanks, is_number

if TYPE_CHECKING:
    from _csv import Reader

SAMPLE_BYTES, SAMPLE_ROWS = 2**20, 1000
COMPARED_ROWS = 200
MIN_ALIKE = 0.9
"""Share of the rows below a title that have as many cells."""
SKIPPED_AT_MOST = 20
"""Lines of a title, of which a table has few."""
BLANKS = " "
"""Any number of blanks and tabs."""
SEPARATORS = (",", ";", "\t", "|")
QUOTES = ('"', "'")


@dataclass(frozen=True)
class Dialect:
    """``skipped``: how many lines come before the names, or before the first row."""

    separator: str
    quote: str = '"'
    escape: str | None = None
    skipped: int = 0

    def rows(self, text: str) -> Iterator[list[str]]:
        """Yield the rows of a text, without the skipped lines.

        Raises:
            csv.Error: a cell is too long.
        """
        lines = io.StringIO(text, newline="")
        for _ in range(self.skipped):
            lines.readline()
        yield from self.reader(lines)

    def reader(self, lines: Iterable[str]) -> "Reader":
        """Return a reader of the rows of lines."""
        return csv.reader(lines, delimiter=self.separator, quotechar=self.quote, escapechar=self.escape)


def find_dialect(source: Path, usual: str, separator: str | None) -> Dialect:
    """Return how a UTF-8 text is cut.

    ``usual``: the separator of the media type, taken where none cuts the rows alike. ``separator``: the caller's.
    """
    if separator == BLANKS:
        return Dialect(BLANKS)
    with source.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
        if file.read(1):
            start = start[: start.rfind(b"\n") + 1] or start
    text = start.decode("utf-8-sig", "replace")
    if separator is None and [mark for mark in SEPARATORS if _cuts_alike(text, mark)] == [usual]:
        return Dialect(usual)
    found = _best(text, SEPARATORS if separator is None else (separator,), usual)
    if found is not None:
        return found
    return Dialect(separator or (BLANKS if has_columns_of_blanks(text) else usual))


def _cuts_alike(text: str, separator: str) -> bool:
    """Return whether a separator cuts the first rows into as many cells, and more than one."""
    length = 0
    with suppress(csv.Error):
        for row in itertools.islice(filter(None, Dialect(separator).rows(text)), COMPARED_ROWS):
            length = length or len(row)
            if length == 1 or len(row) != length:
                return False
        return length > 0
    return False


@dataclass(frozen=True)
class _Cut:
    """A text cut by a dialect. ``alike``: share of the rows, after the skipped lines, with as many cells as most.

    ``clean``: share of cells that hold no other separator and no quotes; a comma may be a decimal mark.
    """

    dialect: Dialect
    alike: float
    clean: float
    width: int


def _best(text: str, separators: Iterable[str], usual: str) -> Dialect | None:
    """Return the dialect that cuts a text best into rows of as many cells, None if all rows have a single one."""
    quotes = [quote for quote in QUOTES if quote == QUOTES[0] or quote in text]
    escape = "\\" if '\\"' in text and '""' not in text else None
    cuts = [_cut(text, Dialect(mark, quote, escape)) for mark in separators for quote in quotes]
    found = [cut for cut in cuts if cut is not None]
    best = max(
        found,
        key=lambda cut: (
            round(cut.alike, 2),
            -cut.dialect.skipped,
            round(cut.clean, 2),
            cut.width,
            cut.dialect.separator == usual,
        ),
        default=None,
    )
    return None if best is None else best.dialect


def _cut(text: str, dialect: Dialect) -> _Cut | None:
    reader = dialect.reader(io.StringIO(text, newline=""))
    rows: list[list[str]] = []
    begins: list[int] = []
    begin = 0
    with suppress(csv.Error):
        for row in itertools.islice(reader, SAMPLE_ROWS):
            if row:
                rows.append(row)
                begins.append(begin)
            begin = reader.line_num
    widths = Counter(len(row) for row in rows if len(row) > 1)
    if not widths:
        return None
    width = max(widths, key=lambda one: (widths[one], one))
    first = next(place for place, row in enumerate(rows) if len(row) == width)
    if first and _are_names(rows[first - 1], rows[first:]):
        first -= 1
    alike = sum(len(row) == width for row in rows[first:]) / len(rows[first:])
    titled = alike > MIN_ALIKE and begins[first] <= SKIPPED_AT_MOST
    if first and not (titled and _has_title(text, begins[first], rows[first:])):
        first = 0
        if len(rows[0]) == 1:
            return None
    kept = rows[first:]
    cells = [cell for row in kept for cell in row]
    others = [mark for mark in SEPARATORS if mark not in (dialect.separator, ",")]
    return _Cut(
        replace(dialect, skipped=begins[first] if first else 0),
        sum(len(row) == width for row in kept) / len(kept),
        sum(not (any(mark in cell for mark in others) or _is_quoted(cell)) for cell in cells) / len(cells),
        width,
    )


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] and cell[0] in QUOTES


def _are_names(row: list[str], table: list[list[str]]) -> bool:
    """Return whether a row names all columns of a table but the first, as R does, whose rows have names."""
    if len(row) != len(table[0]) - 1:
        return False
    return len(row) > 1 or [one[0] for one in table] == [str(number) for number in range(1, len(table) + 1)]


def _has_title(text: str, skipped: int, table: list[list[str]]) -> bool:
    """Return whether lines in front of a table are a title, and not the name of a column of texts with separators.

    After a title comes a blank line, or there are numbers in a column below the names.
    """
    if any(not line.strip() for line in text.splitlines()[:skipped]):
        return True
    return any(all(map(is_number, cells)) for cells in zip(*table[1:], strict=False))
