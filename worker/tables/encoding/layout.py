"""Where the columns of every code go in encoded rows. All columns of a kind are encoded at once.

One step a column would take longer than the arithmetic of a few rows.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from worker.tables.encoding.calendar import circle
from worker.tables.encoding.column_code import VIEWS, ColumnCode, bin_shares
from worker.tables.values import AS_TEXTS


class Layout:
    """Columns of encoded rows: ``places`` has the slice of each code, ``width`` their number.

    ``numeric``, ``categorical`` and ``texts`` are the codes by what they take: numbers, places of categories, or texts.
    """

    def __init__(self, codes: Sequence[ColumnCode]) -> None:
        bounds = list(accumulate((len(code.names) for code in codes), initial=0))
        self.width = bounds[-1]
        self.places = [slice(*pair) for pair in pairwise(bounds)]
        placed = list(zip(codes, self.places, strict=True))
        numeric = [(code, place) for code, place in placed if code.type not in AS_TEXTS]
        self.numeric = [code for code, _ in numeric]
        self._first = np.array([place.start for _, place in numeric], int)
        self._fills, self._shifts, self._scales = _transposed(
            3, [(code.fill, code.shift, code.scale) for code in self.numeric]
        )
        flags = [(index, place.stop - 1) for index, (code, place) in enumerate(numeric) if code.missing]
        self._flags_from, self._flags_to = _transposed(2, flags).astype(int)
        expanded = [
            (code.expansion, index, place.start + 1)
            for index, (code, place) in enumerate(numeric)
            if code.expansion is not None
        ]
        self._expansions = [(expansion, index) for expansion, index, _ in expanded]
        self._expanded = np.array([index for _, index, _ in expanded], int)
        self._ranks = np.array([rank for _, _, rank in expanded], int)
        self._rank_shifts, self._rank_scales = _transposed(
            2, [(expansion.score_shift, expansion.score_scale) for expansion, _, _ in expanded]
        )
        bins = [
            (index, rank + 1 + number, low, high, mean, expansion.bin_scale)
            for expansion, index, rank in expanded
            for number, (low, high, mean) in enumerate(zip(*expansion.bins, strict=True))
        ]
        binned, bin_places, self._low, self._high, self._bin_means, self._bin_scales = _transposed(6, bins)
        self._binned, self._bins = binned.astype(int), bin_places.astype(int)
        self._circles = [
            (part, index, place.start + 1 + 2 * number)
            for index, (code, place) in enumerate(numeric)
            for number, part in enumerate(code.circles)
        ]
        self.categorical = [code for code, _ in placed if code.type == "categorical"]
        self._indicators = [place.start + code.indicators for code, place in placed if code.type == "categorical"]
        self._means = [
            (number, slice(place.stop - len(code.statistics.names), place.stop), code.statistics.table)
            for number, (code, place) in enumerate(pair for pair in placed if pair[0].type == "categorical")
            if code.statistics is not None
        ]
        self._texts = [(code.text, place, code.missing) for code, place in placed if code.text is not None]
        self.texts = [code for code in codes if code.text is not None]

    def encode(
        self,
        numbers: np.ndarray,
        categories: Sequence[np.ndarray],
        texts: Sequence[Sequence[str | None]],
        X: np.ndarray,
    ) -> None:
        """Write encoded rows into X (n, width).

        ``numbers``: float64 (n, numeric codes), NaN for missing values. ``categories``: of each categorical code the
        places (n,) that ``Categories`` gives. ``texts``: of each text code the cells (n,), None for missing ones.
        """
        X.fill(0.0)
        absent = np.isnan(numbers)
        values = np.where(absent, self._fills, numbers) if absent.any() else numbers
        # a value that overflows becomes infinite, and whoever predicts names its row
        with np.errstate(over="ignore"):
            X[:, self._first] = (values - self._shifts) / self._scales
        if self._expansions:
            self._encode_views(values, absent, X)
        for part, index, place in self._circles:
            # the middle of the circle is as far from every point of it
            X[:, place : place + 2] = np.where(absent[:, [index]], 0.0, circle(part, values[:, index]))
        X[:, self._flags_to] = absent[:, self._flags_from]
        rows = np.arange(len(X))
        for indicators, places in zip(self._indicators, categories, strict=True):
            X[rows, indicators[places]] = 1.0
        for number, columns, table in self._means:
            X[:, columns] = table[categories[number]]
        for (text, columns, flagged), cells in zip(self._texts, texts, strict=True):
            X[:, columns.start : columns.stop - flagged] = text.encode(cells)
            if flagged:
                X[:, columns.stop - 1] = [cell is None for cell in cells]

    def _encode_views(self, values: np.ndarray, absent: np.ndarray, X: np.ndarray) -> None:
        """Write ranks and bins of expanded columns beside their values; the views share the weight of one column."""
        middles = np.stack([expansion.middles(values[:, index]) for expansion, index in self._expansions], axis=1)
        X[:, self._ranks] = (middles - self._rank_shifts) / self._rank_scales
        shares = bin_shares(values[:, self._binned], self._low, self._high)
        X[:, self._bins] = (shares - self._bin_means) / self._bin_scales
        gaps = absent[:, self._expanded]
        for places, missing in (
            (self._ranks - 1, gaps),
            (self._ranks, gaps),
            (self._bins, absent[:, self._binned]),
        ):
            X[:, places] = np.where(missing, 0.0, X[:, places] / np.sqrt(VIEWS))


def _transposed(columns: int, rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(rows, float).reshape(-1, columns).T
