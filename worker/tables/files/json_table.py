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

ROUNDED = object()
FREE_ABSENT, MAX_ABSENT = 2**24, 100
"""Cells of a table of objects whose keys differ: so many, and so many for each value in the file."""


class JsonTable:
    """``names`` of the columns; ``batches`` reads their cells. ``lines``: each row is a JSON value of its own.

    The columns of objects are all their keys, in the order in which they appear; a key that a row lacks has no value.
    """

    def __init__(self, source: Path, *, lines: bool = False) -> None:
        self._source, self._lines = source, lines
        names = _listed_names(self._parts())
        self._listed = names is not None
        self.names: list[str] = list(self._kinds) if names is None else names

    def batches(self, rows_at_once: int) -> Iterator[list[pa.Array]]:
        """Yield the columns of ``rows_at_once`` rows at a time.

        Raises:
            UnreadableTable: naming a row.
            TableTooLarge: a row has too many cells, or a text is too long.
        """
        rows = self._rows() if self._listed else map(self._filled, self._rows())
        makers = [_maker(kinds) for kinds in self._kinds.values()]
        while block := list(islice(rows, rows_at_once)):
            yield [make(cells) for make, cells in zip(makers, zip(*block, strict=True), strict=True)]

    @cached_property
    def _kinds(self) -> dict[Any, set[object]]:
        """Return the types of all cells of each column, by its place in lists and by its name in objects.

        An integer that float64 rounds is of the type ``ROUNDED``.
        """
        kinds: dict[Any, set[object]] = {place: set() for place in range(len(self.names))} if self._listed else {}
        number = cells = 0
        for row in self._rows():
            number += 1
            cells += len(row)
            for key, cell in enumerate(row) if self._listed else row.items():
                if key not in kinds:
                    check_columns(len(kinds) + 1)
                    kinds[key] = set()
                kinds[key].add(ROUNDED if type(cell) is int and abs(cell) > EXACT_INTEGERS else type(cell))
        check_absent(number * len(kinds), cells)
        return kinds

    def _parts(self) -> Iterator[tuple[str, Any]]:
        return json_lines(self._source) if self._lines else json_parts(self._source)

    def _rows(self) -> Iterator[Any]:
        number = 0
        for part, value in self._parts():
            if part == "rows":
                for row in value:
                    number += 1
                    yield self._checked(row, number)
            elif not self._listed:
                raise UnreadableTable(f"rows of objects name their columns, which are there besides; {JSON_SHAPE}")

    def _filled(self, row: dict[str, Any]) -> list[Any]:
        return [row.get(name) for name in self.names]

    def _checked(self, row: Row, number: int) -> Any:
        """Return a row, a list or an object as all are, with NaN as None and integers that float64 rounds as such."""
        written, cells = row
        self._check_shape(cells, number)
        # parsed at most once per row, and only if a cell needs it
        as_written = cache(lambda: numbers_as_written(written))
        for key, cell in enumerate(cells) if self._listed else cells.items():
            kind = type(cell)
            if kind is float and cell != cell:
                cells[key] = None
            elif kind is float and abs(cell) >= EXACT_INTEGERS and not isinf(cell):
                cells[key] = _exact(as_written()[key], cell)
            elif kind is str and len(cell) > MAX_TEXT_LENGTH:
                raise TableTooLarge(f"row {number} holds a text of more than {MAX_TEXT_LENGTH} characters")
            elif not (kind is str and cell.isascii()) and mistake(cell) is not None:
                raise _wrong(as_written()[key], cell, str(self.names[key] if self._listed else key), number)
        return cells

    def _check_shape(self, cells: Any, number: int) -> None:
        if not isinstance(cells, list if self._listed else dict):
            raise UnreadableTable(f"row {number} is not {'a list' if self._listed else 'an object'}; {JSON_SHAPE}")
        check_columns(len(cells))
        if self._listed and len(cells) != len(self.names):
            raise UnreadableTable(f"row {number} has {len(cells)} values and the table {len(self.names)} columns")


def check_absent(cells: int, present: int) -> None:
    """Refuse objects of so many different keys that the table would be far larger than its file.

    Raises:
        TableTooLarge: they are.
    """
    if cells > FREE_ABSENT + MAX_ABSENT * present:
        raise TableTooLarge(
            f"the rows have {present} values, and with all their keys as columns the table has {cells} cells, nearly "
            "all of them empty; leave out keys that few rows have"
        )


def _listed_names(parts: Iterator[tuple[str, Any]]) -> list[str] | None:
    """Return the names of the columns of lists; None where rows are objects."""
    for part, value in parts:
        if part == "rows" and isinstance(value[0][1], dict):
            return None
        if part == "columns":
            if not isinstance(value, list):
                break
            check_columns(len(value))
            if not all(isinstance(name, str) for name in value):
                break
            return value
    raise UnreadableTable(f'"columns" is missing or holds other things than names; {JSON_SHAPE}')


def _exact(written: str, number: float) -> float | int:
    """Return a number, as an integer if it is one that float64 rounds."""
    digits = None if float_is_exact(written) else whole_digits(written)
    return number if digits is None else int(digits)


def _wrong(written: Any, cell: Any, name: str, number: int) -> UnreadableTable:
    # a number that is too large was parsed as infinity
    message = mistake(cell) or ""
    if isinstance(cell, float) and isinstance(written, str):
        message = message.replace(str(cell), shorten_number(written), 1)
    return UnreadableTable(f"row {number}, column {name[:80]!r}: {message}")


def _maker(kinds: set[object]) -> Callable[[Sequence[Any]], pa.Array]:
    """Return a function that builds arrays; texts for mixed types and for integers that float64 rounds."""
    kinds = kinds - {type(None)}
    if not (kinds <= {bool} or kinds <= {int, float}):
        return lambda cells: pa.array([None if cell is None else cell_text(cell) for cell in cells], pa.string())
    if bool in kinds:
        return lambda cells: pa.array(cells, pa.bool_())
    return lambda cells: pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
