"""A JSON table as columns of texts, numbers or booleans. Its rows are lists or objects."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from itertools import islice
from math import isinf
from pathlib import Path
from typing import Any

import pyarrow as pa

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.contracts.json_text import numbers_as_written, shorten_number
from worker.tables.cells.json_cells import mistake
from worker.tables.files.json_parts import JSON_SHAPE, Row, json_lines, json_parts
from worker.tables.files.size_limits import MAX_TEXT_LENGTH, check_columns
from worker.tables.values import EXACT_INTEGERS, cell_text, float_is_exact, whole_digits


class JsonTable:
    """``names`` of the columns; ``batches`` reads their cells. ``lines``: each row is a JSON value of its own."""

    def __init__(self, source: Path, *, lines: bool = False) -> None:
        self._source, self._lines = source, lines
        self.names, self._listed = _names(self._parts())

    def batches(self, rows_at_once: int) -> Iterator[list[pa.Array]]:
        """Yield the columns of ``rows_at_once`` rows at a time.

        Raises:
            UnreadableTable: naming a row.
            TableTooLarge: a row has too many cells, or a text is too long.
        """
        rows = self._rows()
        while block := list(islice(rows, rows_at_once)):
            yield [make(cells) for make, cells in zip(self._makers, zip(*block, strict=True), strict=True)]

    @cached_property
    def _makers(self) -> list[Callable[[Sequence[Any]], pa.Array]]:
        """Return a function for each column that builds arrays by the types of all its cells."""
        kinds: list[set[type]] = [set() for _ in self.names]
        exact = [True] * len(self.names)
        for row in self._rows():
            for index, cell in enumerate(row):
                kinds[index].add(type(cell))
                if type(cell) is int and abs(cell) > EXACT_INTEGERS:
                    exact[index] = False
        return [_maker(kind - {type(None)}, is_exact) for kind, is_exact in zip(kinds, exact, strict=True)]

    def _parts(self) -> Iterator[tuple[str, Any]]:
        return json_lines(self._source) if self._lines else json_parts(self._source)

    def _rows(self) -> Iterator[list[Any]]:
        number = 0
        for part, value in self._parts():
            if part == "rows":
                for row in value:
                    number += 1
                    yield self._cells(row, number)
            elif not self._listed:
                raise UnreadableTable(f"rows of objects name their columns, which are there besides; {JSON_SHAPE}")

    def _cells(self, row: Row, number: int) -> list[Any]:
        written, value = row
        cells = self._list_cells(value, number) if self._listed else self._object_cells(value, number)
        # parsed at most once per row, and only if a cell needs it
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

    def _list_cells(self, cells: Any, number: int) -> list[Any]:
        if not isinstance(cells, list):
            raise UnreadableTable(f"row {number} is not a list; {JSON_SHAPE}")
        check_columns(len(cells))
        if len(cells) != len(self.names):
            raise UnreadableTable(f"row {number} has {len(cells)} values and the table {len(self.names)} columns")
        return cells

    def _object_cells(self, members: Any, number: int) -> list[Any]:
        if not isinstance(members, dict):
            raise UnreadableTable(f"row {number} is not an object; {JSON_SHAPE}")
        check_columns(len(members))
        cells = [members[name] for name in self.names if name in members]
        if not len(members) == len(cells) == len(self.names):
            raise _lacks(self.names, members, number)
        return cells


def _names(parts: Iterator[tuple[str, Any]]) -> tuple[list[str], bool]:
    """Return the names of the columns, and whether rows are lists."""
    for part, value in parts:
        if part == "rows" and isinstance(value[0][1], dict):
            return list(value[0][1]), False
        if part == "columns":
            if not isinstance(value, list):
                break
            check_columns(len(value))
            if not all(isinstance(name, str) for name in value):
                break
            return value, True
    raise UnreadableTable(f'"columns" is missing or holds other things than names; {JSON_SHAPE}')


def _exact(written: str, number: float) -> float | int:
    """Return a number, as an integer if it is one that float64 rounds."""
    digits = None if float_is_exact(written) else whole_digits(written)
    return number if digits is None else int(digits)


def _lacks(names: Sequence[str], row: dict[str, Any], number: int) -> UnreadableTable:
    lacking = next((name for name in names if name not in row), None)
    if lacking is None:
        known = set(names)
        number, lacking = 1, next(name for name in row if name not in known)
    return UnreadableTable(
        f"row {number} has no {lacking[:80]!r}, which another row has; write null for a missing value"
    )


def _wrong(written: Any, cell: Any, name: str, number: int) -> UnreadableTable:
    # a number that is too large was parsed as infinity
    message = mistake(cell) or ""
    if isinstance(cell, float) and isinstance(written, str):
        message = message.replace(str(cell), shorten_number(written), 1)
    return UnreadableTable(f"row {number}, column {name[:80]!r}: {message}")


def _maker(kinds: set[type], exact: bool) -> Callable[[Sequence[Any]], pa.Array]:
    """Return a function that builds arrays; texts for mixed types and for integers that float64 rounds."""
    if str in kinds or not exact or not (kinds <= {bool} or kinds <= {int, float}):
        return lambda cells: pa.array([None if cell is None else cell_text(cell) for cell in cells], pa.string())
    if bool in kinds:
        return lambda cells: pa.array(cells, pa.bool_())
    return lambda cells: pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
