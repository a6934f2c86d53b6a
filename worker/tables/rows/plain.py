"""Rows whose cells are just as their columns want them: numbers, truth values, texts or nothing.

Most small requests are such. They go to the encoder without a table of Arrow, which costs some ten microseconds a
column however few the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from types import NoneType
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from worker.contracts.resources import ModelColumn
from worker.tables.values import ARROW_TYPES, AS_TEXTS

NUMBER_CELLS = frozenset({int, float, NoneType})
TRUTH_CELLS = frozenset({bool, NoneType})
TEXT_CELLS = frozenset({str, NoneType})


@dataclass(frozen=True)
class PlainColumns:
    """The columns of a model by what a cell is. ``PlainRows`` hold numeric and then boolean ones as numbers."""

    numeric: tuple[str, ...]
    boolean: tuple[str, ...]
    texts: tuple[str, ...]

    @cached_property
    def number_places(self) -> dict[str, int]:
        """The column of ``PlainRows.numbers`` of each numeric and boolean column."""
        return {name: place for place, name in enumerate((*self.numeric, *self.boolean))}

    @cached_property
    def names(self) -> frozenset[str]:
        """All of them."""
        return frozenset((*self.numeric, *self.boolean, *self.texts))

    @classmethod
    def of(cls, features: Sequence[ModelColumn]) -> "PlainColumns":
        """Return the columns of ``features``, each kind in their order."""
        names = {kind: tuple(feature.name for feature in features if feature.type == kind) for kind in ARROW_TYPES}
        return cls(names["numeric"], names["boolean"], tuple(name for kind in AS_TEXTS for name in names[kind]))


@dataclass(frozen=True)
class PlainRows:
    """``numbers``: float64 (n, numeric + boolean columns), NaN for missing values. ``texts``: row after row."""

    columns: PlainColumns
    numbers: np.ndarray
    texts: list[str | None]

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers)

    def slice(self, offset: int, length: int) -> "PlainRows":
        """Return ``length`` rows, or those that there are, as ``pa.Table.slice`` does."""
        if offset == 0 and length >= self.num_rows:
            return self
        width = len(self.columns.texts)
        return PlainRows(
            self.columns,
            self.numbers[offset : offset + length],
            self.texts[offset * width : (offset + length) * width],
        )

    def texts_of(self, column: str) -> list[str | None]:
        """Return the texts of one column, (n,)."""
        return self.texts[self.columns.texts.index(column) :: len(self.columns.texts)]

    def table(self, features: Sequence[ModelColumn]) -> pa.Table:
        """Return the same as a table with the columns of ``features``."""
        cells: dict[str, Sequence[object]] = {name: self.texts_of(name) for name in self.columns.texts}
        for name, place in self.columns.number_places.items():
            cells[name] = [None if np.isnan(number) else number for number in self.numbers[:, place]]
        for name in self.columns.boolean:
            cells[name] = [None if number is None else bool(number) for number in cells[name]]
        return pa.table(
            {feature.name: pa.array(cells[feature.name], ARROW_TYPES[feature.type]) for feature in features}
        )


Rows: TypeAlias = pa.Table | PlainRows
"""A table has the columns of a model, in its order and types."""


def joined(parts: Sequence[PlainRows]) -> PlainRows:
    """Return the rows of all parts, one part after another."""
    if len(parts) == 1:
        return parts[0]
    texts = list(chain.from_iterable(rows.texts for rows in parts))
    return PlainRows(parts[0].columns, np.concatenate([rows.numbers for rows in parts]), texts)


def plain_rows(columns: PlainColumns, count: int, cells: Callable[[Sequence[str]], list[Any]]) -> PlainRows | None:
    """Return ``count`` rows whose ``cells`` of named columns come row after row; None where a cell is not plain."""
    numeric, boolean, texts = cells(columns.numeric), cells(columns.boolean), cells(columns.texts)
    if not (
        NUMBER_CELLS.issuperset(map(type, numeric))
        and TRUTH_CELLS.issuperset(map(type, boolean))
        and TEXT_CELLS.issuperset(map(type, texts))
        and all(map(_is_plain, texts))
    ):
        return None
    try:
        numbers = np.array(numeric, np.float64).reshape(count, -1) if numeric else np.empty((count, 0))
    except OverflowError:
        return None
    if np.isinf(numbers).any():
        return None
    if boolean:
        numbers = np.hstack([numbers, np.array(boolean, np.float64).reshape(count, -1)])
    return PlainRows(columns, numbers, texts)


def _is_plain(text: str | None) -> bool:
    """Return whether a text is for certain one that a table takes: without NUL and halves of characters."""
    return text is None or text.isprintable()
