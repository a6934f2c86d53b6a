"""A table in JSON as columns of texts, numbers or booleans. Its rows are lists, or objects that name each cell."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from itertools import islice
from math import isinf
from pathlib import Path
from typing import Any

import pyarrow as pa

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.contracts.json_text import numbers_as_written, told_number
from worker.tables.files.json_parts import JSON_SHAPE, Row, json_parts
from worker.tables.files.size_limits import MAX_TEXT_LENGTH, check_columns
from worker.tables.json_cells import mistake
from worker.tables.values import EXACT_INTEGERS, cell_text, float_tells, whole_digits


class JsonTable:
    """``names`` of the columns, and their cells each time that ``batches`` is called."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.names, self._listed = _names(source)

    def batches(self, rows_at_once: int) -> Iterator[list[pa.Array]]:
        """Yield the columns of so many rows at a time.

        Raises:
            UnreadableTable: naming a row.
            TableTooLarge: a row has too many cells, or a text is too long.
        """
        rows = self._rows()
        while block := list(islice(rows, rows_at_once)):
            yield [make(cells) for make, cells in zip(self._makers, zip(*block, strict=True), strict=True)]

    @cached_property
    def _makers(self) -> list[Callable[[Sequence[Any]], pa.Array]]:
        """Return what makes an array of the cells of each column, by the kinds of all of them."""
        kinds: list[set[type]] = [set() for _ in self.names]
        exact = [True] * len(self.names)
        for row in self._rows():
            for index, cell in enumerate(row):
                kinds[index].add(type(cell))
                if type(cell) is int and abs(cell) > EXACT_INTEGERS:
                    exact[index] = False
        return [_maker(kind - {type(None)}, whole) for kind, whole in zip(kinds, exact, strict=True)]

    def _rows(self) -> Iterator[list[Any]]:
        number = 0
        for part, found in json_parts(self._source):
            if part == "rows":
                for row in found:
                    number += 1
                    yield self._cells(row, number)
            elif not self._listed:
                raise UnreadableTable(f"rows of objects name their columns, which are there besides; {JSON_SHAPE}")

    def _cells(self, row: Row, number: int) -> list[Any]:
        written, found = row
        cells = self._of_list(found, number) if self._listed else self._of_object(found, number)
        # parsed once a row, and only where a cell needs it
        as_written = cache(lambda: numbers_as_written(written))
        for place, cell in enumerate(cells):
            kind = type(cell)
            if kind is float and cell != cell:
                cells[place] = None
            elif kind is float and abs(cell) >= EXACT_INTEGERS and not isinf(cell):
                cells[place] = _exact(as_written()[place if self._listed else self.names[place]], cell)
            elif kind is str and len(cell) > MAX_TEXT_LENGTH:
                raise TableTooLarge(f"row {number} holds a text of more than {MAX_TEXT_LENGTH} characters")
            elif not (kind is str and cell.isascii()) and mistake(cell) is not None:
                name = self.names[place]
                raise _wrong(as_written()[place if self._listed else name], cell, name, number)
        return cells

    def _of_list(self, found: Any, number: int) -> list[Any]:
        if not isinstance(found, list):
            raise UnreadableTable(f"row {number} is not a list; {JSON_SHAPE}")
        check_columns(len(found))
        if len(found) != len(self.names):
            raise UnreadableTable(f"row {number} has {len(found)} values and the table {len(self.names)} columns")
        return found

    def _of_object(self, found: Any, number: int) -> list[Any]:
        if not isinstance(found, dict):
            raise UnreadableTable(f"row {number} is not an object; {JSON_SHAPE}")
        check_columns(len(found))
        cells = [found[name] for name in self.names if name in found]
        if not len(found) == len(cells) == len(self.names):
            raise _lacks(self.names, found, number)
        return cells


def _names(source: Path) -> tuple[list[str], bool]:
    """Return the names of the columns, and whether rows are lists."""
    for part, found in json_parts(source):
        if part == "rows" and isinstance(found[0][1], dict):
            return list(found[0][1]), False
        if part == "columns":
            if not isinstance(found, list):
                break
            check_columns(len(found))
            if not all(isinstance(name, str) for name in found):
                break
            return found, True
    raise UnreadableTable(f'"columns" is missing or holds other things than names; {JSON_SHAPE}')


def _exact(written: str, number: float) -> float | int:
    """Return a number, as an integer where it is a whole one that a float rounds."""
    digits = None if float_tells(written) else whole_digits(written)
    return number if digits is None else int(digits)


def _lacks(names: Sequence[str], found: dict[str, Any], number: int) -> UnreadableTable:
    lacking = next((name for name in names if name not in found), None)
    if lacking is None:
        known = set(names)
        number, lacking = 1, next(name for name in found if name not in known)
    return UnreadableTable(
        f"row {number} has no {lacking[:80]!r}, which another row has; write null for a missing value"
    )


def _wrong(written: Any, cell: Any, name: str, number: int) -> UnreadableTable:
    # a number that is too large is infinite once it is read
    told = mistake(cell) or ""
    if isinstance(cell, float) and isinstance(written, str):
        told = told.replace(str(cell), told_number(written), 1)
    return UnreadableTable(f"row {number}, column {name[:80]!r}: {told}")


def _maker(kinds: set[type], exact: bool) -> Callable[[Sequence[Any]], pa.Array]:
    """Return what makes an array; texts of cells of several kinds, and of integers that float64 rounds."""
    if str in kinds or not exact or not (kinds <= {bool} or kinds <= {int, float}):
        return lambda cells: pa.array([None if cell is None else cell_text(cell) for cell in cells], pa.string())
    if bool in kinds:
        return lambda cells: pa.array(cells, pa.bool_())
    return lambda cells: pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
