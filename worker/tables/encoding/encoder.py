"""From typed columns to numbers, with what was learned on training rows only.

numeric, boolean   one column, mean-imputed, standardised; `name:missing` beside it when training rows lacked values
                   expanded: a numeric column of more than two values is followed by `name:rank`, its normal score, and
                   `name:bin1`…, how much of each quantile bin lies below the value (arXiv 2203.05556);
                   the three views share the weight of one column
categorical        one 0/1 column a category, `name=category`, and `name:other` for any value not seen in training;
                   `name:missing` when training rows lacked values, else a missing value counts as other
constant           dropped: nothing can be learned from it
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import MAX_ENCODED_COLUMNS, ColumnType
from worker.contracts.errors import InvalidRequest, TooWide
from worker.contracts.resources import ModelColumn
from worker.tables.encoding.categories import GAP, UNKNOWN, Categories
from worker.tables.values import as_floats, canonical

FORMAT_VERSION = 1
BINS = 8
WIDTH = 320
"""The views of all numeric columns are at most so many together, as long as every column has two bins."""
KNOTS = 257
"""The normal score of a value is read off so many quantiles of the training rows."""
VIEWS = 3


@dataclass(frozen=True)
class Expansion:
    """Two further views of a numeric column.

    ``knots`` (quantiles, non-decreasing) have the normal ``scores``, less ``score_shift`` over ``score_scale``.
    ``edges`` (ascending) bound the bins, of which ``bin_means`` is subtracted before all are divided by ``bin_scale``.
    """

    knots: tuple[float, ...]
    scores: tuple[float, ...]
    score_shift: float
    score_scale: float
    edges: tuple[float, ...]
    bin_means: tuple[float, ...]
    bin_scale: float

    @cached_property
    def lines(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Knots and scores, as they are and seen from the other end. They are read for every block of rows."""
        knots, scores = np.array(self.knots), np.array(self.scores)
        return (knots, scores), (-knots[::-1], -scores[::-1])

    @cached_property
    def bins(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges below and above each bin, and means."""
        edges = np.array(self.edges)
        return edges[:-1], edges[1:], np.array(self.bin_means)

    @classmethod
    def fit(cls, values: np.ndarray, bins: int) -> Self:
        """Learn from the values (n,) of training rows, of which at least two differ."""
        levels = np.linspace(0, 1, min(KNOTS, len(values)))
        knots = np.quantile(values, levels)
        # the outermost values stand for the middle of the first and the last 1/n
        inside = np.clip(levels, 0.5 / len(values), 1 - 0.5 / len(values))
        scores = np.array([NormalDist().inv_cdf(level) for level in inside])
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
        raw = cls(tuple(knots), tuple(scores), 0.0, 1.0, tuple(edges), (0.0,) * (len(edges) - 1), 1.0)
        scored, shares = raw.scored(values), raw.binned(values)
        return replace(
            raw,
            score_shift=float(scored.mean()),
            score_scale=float(scored.std()) or 1.0,
            bin_means=tuple(shares.mean(0)),
            bin_scale=float(np.sqrt(shares.var(0).sum())) or 1.0,
        )

    def scored(self, values: np.ndarray) -> np.ndarray:
        """Return the standardised normal score of every value, (n,); equal values at several knots take the middle."""
        scored: np.ndarray = (self.middles(values) - self.score_shift) / self.score_scale
        return scored

    def middles(self, values: np.ndarray) -> np.ndarray:
        """Return the normal score of every value before it is standardised, (n,)."""
        forward, backward = self.lines
        middles: np.ndarray = (np.interp(values, *forward) - np.interp(-values, *backward)) / 2
        return middles

    def binned(self, values: np.ndarray) -> np.ndarray:
        """Return the share of each bin below every value, centred and scaled together, (n, bins)."""
        low, high, means = self.bins
        # halves keep the widths of bins of huge numbers finite
        below = np.clip(values[:, None], low, high)
        shares = (below / 2 - low / 2) / (high / 2 - low / 2)
        binned: np.ndarray = (shares - means) / self.bin_scale
        return binned


@dataclass(frozen=True)
class ColumnCode:
    """How one column is encoded: (value − shift) / scale, a missing value as ``fill``; or ``categories`` as 0/1.

    ``deviation``: standard deviation of the training rows; None in files of the first versions, and for categories.
    """

    name: str
    type: ColumnType
    missing: bool
    fill: float = 0.0
    shift: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()
    expansion: Expansion | None = None
    deviation: float | None = None

    @property
    def names(self) -> list[str]:
        """The encoded columns."""
        if self.type == "categorical":
            own = [*(f"{self.name}={value}" for value in self.categories), f"{self.name}:other"]
        else:
            own = [self.name]
        if self.expansion is not None:
            bins = range(1, len(self.expansion.edges))
            own += [f"{self.name}:rank", *(f"{self.name}:bin{number}" for number in bins)]
        return [*own, f"{self.name}:missing"] if self.missing else own

    def encode(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return float64 (n, number of names)."""
        if self.type == "categorical":
            block = np.zeros((len(column), len(self.names)))
            block[np.arange(len(column)), self.columns_of(self.known.places(column))] = 1.0
            return block
        whole = column.null_count == 0
        absent = np.zeros(len(column), bool) if whole else pc.is_null(column).to_numpy()
        values = self.numbers(column)
        # a value beyond all measure becomes infinite, and whoever predicts names its row
        with np.errstate(over="ignore"):
            block = ((values - self.shift) / self.scale)[:, None]
        if self.expansion is not None:
            further = [self.expansion.scored(values)[:, None], self.expansion.binned(values)]
            block = np.hstack([block, *further]) / np.sqrt(VIEWS)
            if not whole:
                block[absent] = 0.0
        return np.hstack([block, absent[:, None].astype(np.float64)]) if self.missing else block

    def columns_of(self, places: np.ndarray) -> np.ndarray:
        """Return which of the encoded columns of categories is 1 for each place of ``Categories``."""
        other = len(self.categories)
        return np.where(places == UNKNOWN, other, np.where(places == GAP, other + self.missing, places))

    def strange(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return which values of a column of categories no training row had, (n,)."""
        rows: np.ndarray = self.known.places(column) == UNKNOWN
        return rows

    def numbers(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return the values of a column that is no category, (n,) float64, missing ones filled."""
        numbers = as_floats(column)
        values: np.ndarray = (pc.fill_null(numbers, self.fill) if numbers.null_count else numbers).to_numpy()
        return values

    @property
    def plain(self) -> bool:
        """Whether the code is one number, (value − shift) / scale."""
        return self.type != "categorical" and not self.missing and self.expansion is None

    @cached_property
    def known(self) -> Categories:
        """The categories that training rows had."""
        return Categories(self.categories)


@dataclass(frozen=True)
class Encoder:
    """Fitted on training rows; the same at prediction."""

    codes: tuple[ColumnCode, ...]
    dropped: tuple[str, ...]
    normalize_rows: bool

    @classmethod
    def fit(
        cls,
        table: pa.Table,
        features: Sequence[ModelColumn],
        *,
        standardize: bool,
        normalize_rows: bool,
        expanded: bool = False,
    ) -> Self:
        """Learn from training rows.

        Raises:
            InvalidRequest: no column tells the rows apart.
        """
        bins = bins_among(sum(column.type == "numeric" for column in features)) if expanded else None
        codes = {column.name: _learn(table.column(column.name), column, standardize, bins) for column in features}
        kept = tuple(code for code in codes.values() if code is not None)
        if not kept:
            raise InvalidRequest.at("/features", "every feature column is constant or empty in the training rows")
        return cls(kept, tuple(name for name, code in codes.items() if code is None), normalize_rows)

    @property
    def names(self) -> list[str]:
        """The encoded columns, in order."""
        return [name for code in self.codes for name in code.names]

    @property
    def sources(self) -> list[str]:
        """The original column of each encoded one."""
        return [code.name for code in self.codes for _ in code.names]

    def encode(self, table: pa.Table) -> np.ndarray:
        """Return float64 (n, len(names)). Columns are found by name; others are ignored."""
        places, shifts, scales = self._layout
        X = np.empty((len(table), len(shifts)))
        for code, place in zip(self.codes, places, strict=True):
            column = table.column(code.name)
            if code.plain:
                X[:, place.start] = code.numbers(column)
            else:
                X[:, place] = code.encode(column)
        # plain columns all at once: a step for each takes longer than the work of a few rows
        with np.errstate(over="ignore"):
            X -= shifts
            X /= scales
        return self.scaled(X)

    def strange(self, table: pa.Table) -> dict[str, np.ndarray]:
        """Return, of each column that has any, which rows (n,) hold a category that no training row had."""
        found = {code.name: code.strange(table.column(code.name)) for code in self.codes if code.type == "categorical"}
        return {name: rows for name, rows in found.items() if rows.any()}

    def joined(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """Return the encoded rows (n, len(names)) whose columns ``codes`` made, a block (n, …) each."""
        return self.scaled(np.hstack(blocks))

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """Return encoded rows as the model takes them: divided by their length if it was fitted so. X is lost."""
        if self.normalize_rows:
            X /= lengths(X)
        return np.ascontiguousarray(X)

    @cached_property
    def _layout(self) -> tuple[list[slice], np.ndarray, np.ndarray]:
        """The encoded columns of each code; what of them is still to be subtracted, and what to divide by."""
        places: list[slice] = []
        shifts: list[float] = []
        scales: list[float] = []
        for code in self.codes:
            width = len(code.names)
            places.append(slice(len(shifts), len(shifts) + width))
            shifts += [code.shift if code.plain else 0.0] * width
            scales += [code.scale if code.plain else 1.0] * width
        return places, np.array(shifts), np.array(scales)

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` makes the same encoder of."""
        return {
            "format_version": FORMAT_VERSION,
            "codes": [asdict(code) for code in self.codes],
            "dropped": list(self.dropped),
            "normalize_rows": self.normalize_rows,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the encoder that ``to_json`` wrote down.

        Raises:
            ValueError: the format is of another version.
        """
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"the encoder has format version {document['format_version']}; this program reads {FORMAT_VERSION}"
            )
        codes = tuple(_code(code) for code in document["codes"])
        return cls(codes, tuple(document["dropped"]), document["normalize_rows"])


def bins_among(numeric: int) -> int:
    """Return how many bins an expanded column has that is one of so many numeric ones."""
    return min(max(WIDTH // max(numeric, 1) - (VIEWS - 1), 2), BINS)


def check_width(encoder: Encoder) -> None:
    """See that encoded rows have at most ``MAX_ENCODED_COLUMNS`` columns.

    Raises:
        TooWide: saying what would be narrower.
    """
    counts = Counter(encoder.sources)
    plain = sum(len(replace(code, expansion=None).names) for code in encoder.codes)
    if plain <= MAX_ENCODED_COLUMNS < counts.total():
        raise TooWide.expanded(counts.total(), plain, MAX_ENCODED_COLUMNS)
    if counts.total() > MAX_ENCODED_COLUMNS:
        raise TooWide.of(counts, MAX_ENCODED_COLUMNS)


def lengths(X: np.ndarray) -> np.ndarray:
    """Return what rows are divided by to have length 1, (n, 1); 1 for rows of zeros."""
    with np.errstate(over="ignore"):
        found = np.linalg.norm(X, axis=1, keepdims=True)
    huge = np.isinf(found[:, 0]) & np.isfinite(X).all(axis=1)
    if huge.any():
        # their squares overflow, and divided by infinity they would all be one row
        largest = np.abs(X[huge]).max(axis=1, keepdims=True)
        found[huge] = np.linalg.norm(X[huge] / largest, axis=1, keepdims=True) * largest
    return np.where(found > 0, found, 1.0)


def _code(document: Mapping[str, Any]) -> ColumnCode:
    expansion = document.get("expansion")
    return ColumnCode(
        **{
            **_tuples(document),
            "expansion": None if expansion is None else Expansion(**_tuples(expansion)),
        }
    )


def _tuples(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


def _learn(column: pa.ChunkedArray, described: ModelColumn, standardize: bool, bins: int | None) -> ColumnCode | None:
    column = canonical(column)
    missing = 0 < column.null_count < len(column)
    if described.type == "categorical":
        categories = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
        if len(categories) + missing < 2:
            return None
        return ColumnCode(described.name, described.type, missing, categories=tuple(categories))
    values = as_floats(column.drop_null()).to_numpy()
    if len(values) == 0 or (values.min() == values.max() and not missing):
        return None
    # a power of two changes no digit, and squares of huge numbers stay finite
    unit = 2.0 ** (int(np.frexp(np.abs(values).max())[1]) - 1)
    mean, deviation = float((values / unit).mean() * unit), float((values / unit).std() * unit)
    scale = deviation if standardize and deviation > 0 else 1.0
    shift = mean if standardize else 0.0
    expansion = None
    if bins is not None and described.type == "numeric" and len(np.unique(values)) > 2:
        expansion = Expansion.fit(values, bins)
    return ColumnCode(
        described.name,
        described.type,
        missing,
        fill=mean,
        shift=shift,
        scale=scale,
        expansion=expansion,
        deviation=deviation,
    )
