"""Rows whose cells are just as their columns want them: numbers, truth values, texts or nothing.

Most small requests are such. They go to the encoder without a table of Arrow, which costs some ten microseconds a
column however few the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from types import NoneType

import numpy as np
import pyarrow as pa

from worker.contracts.resources import ModelColumn
from worker.tables.encoder import ColumnCode, Encoder
from worker.tables.values import ARROW_TYPES, MISSING

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
    """Return whether a text is for certain a category as it stands: no word for a gap, nothing to be trimmed."""
    return text is None or (
        text.isprintable() and text not in MISSING and not (text.startswith(" ") or text.endswith(" "))
    )


class PlainEncoder:
    """Does with ``PlainRows`` what ``Encoder.encode`` does with a table of the same cells, to the last bit."""

    def __init__(self, encoder: Encoder, features: Sequence[ModelColumn]) -> None:
        columns = PlainColumns.of(features)
        numbers = {name: place for place, name in enumerate((*columns.numeric, *columns.boolean))}
        starts = list(accumulate((len(code.names) for code in encoder.codes), initial=0))
        coded = {code.name: (code, slice(*place)) for code, place in zip(encoder.codes, pairwise(starts), strict=True)}
        self._encoder = encoder
        self._width = starts[-1]
        straight = [one for one in coded.values() if one[0].type != "categorical" and one[0].expansion is None]
        self._from = np.array([numbers[code.name] for code, _ in straight], int)
        self._to = np.array([place.start for _, place in straight], int)
        self._fills, self._shifts, self._scales = (
            np.array([(code.fill, code.shift, code.scale) for code, _ in straight], float).reshape(-1, 3).T
        )
        flagged = [one for one in straight if one[0].missing]
        self._flags_from = np.array([numbers[code.name] for code, _ in flagged], int)
        self._flags_to = np.array([place.stop - 1 for _, place in flagged], int)
        self._expanded = [
            (code, numbers[code.name], place) for code, place in coded.values() if code.expansion is not None
        ]
        self._texts = len(columns.texts)
        self._categories = [(place, _places(*coded[name])) for place, name in enumerate(columns.texts) if name in coded]

    def encode(self, rows: PlainRows) -> np.ndarray:
        """Return float64 (n, number of names of the encoder)."""
        X = np.zeros((rows.num_rows, self._width))
        absent = np.isnan(rows.numbers)
        values = rows.numbers[:, self._from]
        if absent.any():
            values = np.where(np.isnan(values), self._fills, values)
            X[:, self._flags_to] = absent[:, self._flags_from]
        # a value beyond all measure becomes infinite, and whoever predicts names its row
        with np.errstate(over="ignore"):
            X[:, self._to] = (values - self._shifts) / self._scales
        for code, source, place in self._expanded:
            gaps = absent[:, source]
            X[:, place] = code.coded(np.where(gaps, code.fill, rows.numbers[:, source]), gaps)
        if self._categories:
            ones = [
                known.get(text, other)
                for place, (known, other) in self._categories
                for text in rows.texts[place :: self._texts]
            ]
            X[np.tile(np.arange(rows.num_rows), len(self._categories)), ones] = 1.0
        return self._encoder.scaled(X)


def _places(code: ColumnCode, place: slice) -> tuple[Mapping[str | None, int], int]:
    """Return which encoded column is 1 for each text that a column is known to have, and for all others."""
    other = place.start + len(code.categories)
    known: dict[str | None, int] = {text: place.start + index for index, text in enumerate(code.categories)}
    return known | {None: place.stop - 1}, other
