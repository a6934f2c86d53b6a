"""The rows of one sheet as a text of separated cells, and what each of its columns holds."""

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import IO

from worker.tables.cells.moments import moment_text
from worker.tables.delimited.blanks import is_number
from worker.tables.delimited.dialect import SAMPLE_ROWS, SKIPPED_AT_MOST
from worker.tables.values import number_text

Cell = bool | int | float | str | date | datetime | time | timedelta
NUMBER, TRUTH = "number", "truth"
SAMPLE_CELLS = 2**18
"""Of the rows among which a title is looked for."""
MIN_WIDTH = 3
"""A single cell above so many is a title also where no number is below them."""


@dataclass(frozen=True)
class WrittenSheet:
    """``skipped``: rows in front of the table. ``kinds``: the one kind of all cells of a column below the names.

    A column without such a kind, or without any cell, has None.
    """

    skipped: int
    kinds: list[str | None]


def write_sheet(rows: Iterable[Sequence[Cell]], target: IO[str], *, header: bool) -> WrittenSheet:
    """Write the rows of a sheet as CSV, from the first row of its table on. Blank rows are blank lines.

    ``header``: whether the first row of the table holds the names.
    """
    iterator = iter(rows)
    sample = list(itertools.islice(iterator, 1))
    sample.extend(
        itertools.islice(iterator, min(SAMPLE_ROWS, max(2 * SKIPPED_AT_MOST, SAMPLE_CELLS // len(sample[0]))))
    )
    skipped = title_rows([[cell_text(cell) for cell in row] for row in sample])
    begin = skipped or next((number for number, row in enumerate(sample) if any(map(_is_filled, row))), len(sample))
    writer = csv.writer(target, lineterminator="\r\n")
    kinds: list[set[str]] = []
    for number, row in enumerate(itertools.chain(sample[begin:], iterator)):
        kinds.extend(set() for _ in range(len(row) - len(kinds)))
        if not any(map(_is_filled, row)):
            target.write("\r\n")
            continue
        writer.writerow([cell_text(cell) for cell in row])
        if number or not header:
            for place, cell in enumerate(row):
                if _is_filled(cell):
                    kinds[place].add(_kind(cell))
    return WrittenSheet(skipped, [next(iter(found)) if found in ({NUMBER}, {TRUTH}) else None for found in kinds])


def cell_text(cell: Cell) -> str:
    """Return the text of a cell; "" for one without a value, as one that holds an error."""
    if isinstance(cell, str):
        return "" if not cell.strip() else cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float | int):
        return number_text(cell)
    if isinstance(cell, timedelta):
        return _duration(cell)
    return moment_text(cell.isoformat())


def title_rows(rows: Sequence[Sequence[str]]) -> int:
    """Return how many rows are in front of the names of a table: a title, with the blank rows around it.

    A title has fewer cells than the table. Behind it is a blank row, or it holds texts alone, and there are numbers
    below the names or it is a single cell above several.
    """
    filled = [sum(bool(text) for text in row) for row in rows]
    skipped = 0
    for number in range(1, min(len(rows), SKIPPED_AT_MOST + 1)):
        in_front = max(filled[:number])
        blank_behind = not filled[number - 1] and filled[number] > in_front > 0
        if blank_behind:
            skipped = number
            continue
        few = 0 < 2 * in_front <= filled[number] == max(filled[number:])
        if not few or any(is_number(text) for row in rows[skipped:number] for text in row):
            continue
        if (in_front == 1 and filled[number] >= MIN_WIDTH) or _has_numbers(rows[number + 1 :]):
            skipped = number
    return skipped


def _has_numbers(table: Sequence[Sequence[str]]) -> bool:
    columns: Iterator[tuple[str, ...]] = zip(*table, strict=True)
    return any(cells and all(map(is_number, cells)) for cells in (tuple(filter(None, column)) for column in columns))


def _is_filled(cell: Cell) -> bool:
    return not isinstance(cell, str) or bool(cell.strip())


def _kind(cell: Cell) -> str:
    if isinstance(cell, bool):
        return TRUTH
    return NUMBER if isinstance(cell, float | int) else type(cell).__name__


def _duration(length: timedelta) -> str:
    """Return a length of time as spreadsheets show it, with hours beyond a day."""
    seconds = round(abs(length).total_seconds())
    sign = "-" if length < timedelta() else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
