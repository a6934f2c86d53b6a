"""Rows whose cells are just as their columns want them: numbers, truth values, texts or nothing.

Most small requests are such. They go to the encoder without a table of Arrow, which costs some ten microseconds a
column however few the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from types import NoneType

import numpy as np
import pyarrow as pa

from worker.contracts.resources import ModelColumn
from worker.tables.values import ARROW_TYPES

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
    def names(self) -> frozenset[str]:
        """All of them."""
        return frozenset((*self.numeric, *self.boolean, *self.texts))

    @classmethod
    def of(cls, features: Sequence[ModelColumn]) -> "PlainColumns":
        """Return the columns of ``features``, each kind in their order."""
        names = {kind: tuple(one.name for one in features if one.type == kind) for kind in ARROW_TYPES}
        return cls(names["numeric"], names["boolean"], names["categorical"])


@dataclass(frozen=True)
class PlainRows:
    """``numbers``: float64 (n, numeric + boolean columns), NaN where nothing is. ``texts``: one row after another."""

    numbers: np.ndarray
    texts: list[str | None]

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers)

    def table(self, features: Sequence[ModelColumn]) -> pa.Table:
        """Return the same as a table with the columns of ``features``."""
        columns = PlainColumns.of(features)
        width = len(columns.texts)
        cells: dict[str, Sequence[object]] = {
            name: self.texts[place::width] for place, name in enumerate(columns.texts)
        }
        for place, name in enumerate((*columns.numeric, *columns.boolean)):
            cells[name] = [None if np.isnan(one) else one for one in self.numbers[:, place]]
        for name in columns.boolean:
            cells[name] = [None if one is None else bool(one) for one in cells[name]]
        return pa.table({one.name: pa.array(cells[one.name], ARROW_TYPES[one.type]) for one in features})


def joined(parts: Sequence[PlainRows]) -> PlainRows:
    """Return the rows of all parts, one part after another."""
    if len(parts) == 1:
        return parts[0]
    texts = list(chain.from_iterable(one.texts for one in parts))
    return PlainRows(np.concatenate([one.numbers for one in parts]), texts)


def plain_rows(
    rows: int, numeric: Sequence[object], boolean: Sequence[object], texts: Sequence[object]
) -> PlainRows | None:
    """Return rows of cells that came one row after another; None where a cell must be looked at more closely."""
    if not (
        NUMBER_CELLS.issuperset(map(type, numeric))
        and TRUTH_CELLS.issuperset(map(type, boolean))
        and TEXT_CELLS.issuperset(map(type, texts))
        and all(map(_is_plain, texts))  # type: ignore[arg-type]
    ):
        return None
    try:
        numbers = np.array(numeric, np.float64).reshape(rows, -1) if numeric else np.empty((rows, 0))
    except OverflowError:
        return None
    if np.isinf(numbers).any():
        return None
    if boolean:
        numbers = np.hstack([numbers, np.array(boolean, np.float64).reshape(rows, -1)])
    return PlainRows(numbers, texts)  # type: ignore[arg-type]


def _is_plain(text: str | None) -> bool:
    """Return whether a text is for certain one that a table takes: without NUL and halves of characters."""
    return text is None or text.isprintable()
