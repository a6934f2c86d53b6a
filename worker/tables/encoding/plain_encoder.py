"""From rows without a table to numbers, as the encoder does it with a table."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from worker.contracts.resources import ModelColumn
from worker.tables.encoding.categories import GAP, UNKNOWN
from worker.tables.encoding.column_code import VIEWS, ColumnCode, Expansion
from worker.tables.encoding.encoder import Encoder
from worker.tables.rows.plain import PlainColumns, PlainRows


class PlainEncoder:
    """Does with ``PlainRows`` what ``Encoder.encode`` does with a table of the same cells, to the last bit.

    All columns of a kind are encoded at once: a step for each takes longer than the work of a few rows.
    """

    def __init__(self, encoder: Encoder, features: Sequence[ModelColumn]) -> None:
        columns = PlainColumns.of(features)
        numbers = {name: place for place, name in enumerate((*columns.numeric, *columns.boolean))}
        starts = list(accumulate((len(code.names) for code in encoder.codes), initial=0))
        coded = {code.name: (code, slice(*place)) for code, place in zip(encoder.codes, pairwise(starts), strict=True)}
        self._encoder = encoder
        self._width = starts[-1]
        valued = [one for one in coded.values() if one[0].type != "categorical"]
        self._values = _Values([(code, numbers[code.name], place.start) for code, place in valued])
        expanded = [
            (code.expansion, index, place.start + 1)
            for index, (code, place) in enumerate(valued)
            if code.expansion is not None
        ]
        self._views = _Views(expanded) if expanded else None
        flagged = [(numbers[code.name], place.stop - 1) for code, place in valued if code.missing]
        self._flags_from, self._flags_to = np.array(flagged, int).reshape(-1, 2).T
        self._texts = len(columns.texts)
        self._categories = [
            (name, place, coded[name][0].known, _columns_of(*coded[name]))
            for place, name in enumerate(columns.texts)
            if name in coded
        ]

    def encode(self, rows: PlainRows) -> np.ndarray:
        """Return float64 (n, number of names of the encoder)."""
        X = np.zeros((rows.num_rows, self._width))
        absent = np.isnan(rows.numbers)
        values = self._values.encode(rows.numbers, absent, X)
        if self._views is not None:
            self._views.encode(values, absent[:, self._values.sources], X)
        X[:, self._flags_to] = absent[:, self._flags_from]
        if self._categories:
            ones = [
                columns[known.place(text)]
                for _, place, known, columns in self._categories
                for text in rows.texts[place :: self._texts]
            ]
            X[np.tile(np.arange(rows.num_rows), len(self._categories)), ones] = 1.0
        return self._encoder.scaled(X)

    def unknown_categories(self, rows: PlainRows) -> dict[str, np.ndarray]:
        """Return what ``Encoder.unknown_categories`` does."""
        found = {}
        for name, place, known, _ in self._categories:
            unknown = [known.place(text) == UNKNOWN for text in rows.texts[place :: self._texts]]
            if any(unknown):
                found[name] = np.array(unknown)
        return found


class _Values:
    """The first encoded column of every code that is no category: of each, where it comes from and where it goes."""

    def __init__(self, codes: Sequence[tuple[ColumnCode, int, int]]) -> None:
        self.sources = np.array([source for _, source, _ in codes], int)
        self._places = np.array([place for _, _, place in codes], int)
        self._fills, self._shifts, self._scales = _columns(
            3, [(code.fill, code.shift, code.scale) for code, _, _ in codes]
        )

    def encode(self, numbers: np.ndarray, absent: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Write the columns into X; return the values that they come of, (n, codes), filled."""
        values = numbers[:, self.sources]
        if absent.any():
            values = np.where(np.isnan(values), self._fills, values)
        # a value beyond all measure becomes infinite, and whoever predicts names its row
        with np.errstate(over="ignore"):
            X[:, self._places] = (values - self._shifts) / self._scales
        return values


class _Views:
    """The further views of expanded columns: of each, which of the codes that are no category, and where they begin."""

    def __init__(self, expanded: Sequence[tuple[Expansion, int, int]]) -> None:
        self._expanded = [(expansion, index) for expansion, index, _ in expanded]
        self._indices = np.array([index for _, index, _ in expanded], int)
        self._ranks = np.array([place for _, _, place in expanded], int)
        self._rank_shifts, self._rank_scales = _columns(
            2, [(one.score_shift, one.score_scale) for one, _, _ in expanded]
        )
        bins = [
            (index, place + 1 + bin_, low, high, mean, one.bin_scale)
            for one, index, place in expanded
            for bin_, (low, high, mean) in enumerate(zip(*one.bins, strict=True))
        ]
        indices, places, self._low, self._high, self._means, self._bin_scales = _columns(6, bins)
        self._bin_indices, self._bins = indices.astype(int), places.astype(int)

    def encode(self, values: np.ndarray, absent: np.ndarray, X: np.ndarray) -> None:
        """Write the columns into X, in which the first ones of the same codes are, and share their weight."""
        middles = np.stack([one.middles(values[:, index]) for one, index in self._expanded], axis=1)
        X[:, self._ranks] = (middles - self._rank_shifts) / self._rank_scales
        low, high = self._low, self._high
        below = np.clip(values[:, self._bin_indices], low, high)
        X[:, self._bins] = ((below / 2 - low / 2) / (high / 2 - low / 2) - self._means) / self._bin_scales
        gaps = absent[:, self._indices]
        for places, missing in (
            (self._ranks - 1, gaps),
            (self._ranks, gaps),
            (self._bins, absent[:, self._bin_indices]),
        ):
            X[:, places] = np.where(missing, 0.0, X[:, places] / np.sqrt(VIEWS))


def _columns(count: int, rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(rows, float).reshape(-1, count).T


def _columns_of(code: ColumnCode, place: slice) -> list[int]:
    """Return which encoded column is 1 for each category; GAP and UNKNOWN count from the end."""
    places = np.array([*range(len(code.categories)), GAP, UNKNOWN])
    return [int(column) + place.start for column in code.columns_of(places)]
