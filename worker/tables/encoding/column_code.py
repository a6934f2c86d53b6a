"""How one column is encoded: what was learned of it on training rows, and the columns of numbers that it becomes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, Self

import numpy as np
import pyarrow as pa

from worker.contracts.base import ColumnType
from worker.contracts.resources import ModelColumn
from worker.tables.encoding import copies
from worker.tables.encoding.calendar import varying
from worker.tables.encoding.categories import Categories
from worker.tables.encoding.statistics import Statistics, statistics_of
from worker.tables.encoding.texts import TextCode, cells_of, learned_rows
from worker.tables.values import as_floats, canonical, without_missing

KNOTS = 257
"""The normal score of a value is read off so many quantiles of the training rows."""
VIEWS = 3
MANY, LEAST_ROWS, MOST = 40, 2, 512
"""Of a column with more than ``MANY`` categories, those with fewer training rows than ``LEAST_ROWS``, and all but the
``MOST`` with the most rows, are rare."""
SMALLEST_GAP = 1e-290
"""Slopes between values that are nearer to each other are beyond all numbers."""


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
    def ties(self) -> tuple[np.ndarray, np.ndarray]:
        """The knots that are repeated, as float32 and as they are, in order; without those that float32 cannot tell."""
        distinct, counts = np.unique(np.array(self.knots), return_counts=True)
        with np.errstate(over="ignore"):
            singles = distinct.astype(np.float32)
        _, places, alike = np.unique(singles, return_inverse=True, return_counts=True)
        distinguishable = (counts > 1) & (alike[places] == 1) & np.isfinite(singles)
        return singles[distinguishable], distinct[distinguishable]

    def snapped(self, values: np.ndarray) -> np.ndarray:
        """Return values (n,), those that are a repeated knot in float32 as that knot.

        A repeated value has the middle of the scores that it stands for, and its neighbours those at the ends: a value
        that came in another type, one rounding away, would jump.
        """
        singles, knots = self.ties
        if not len(knots):
            return values
        with np.errstate(over="ignore"):
            near = values.astype(np.float32)
        places = np.searchsorted(singles, near).clip(max=len(knots) - 1)
        return np.where(singles[places] == near, knots[places], values)

    @cached_property
    def bins(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges below and above each bin, and means."""
        edges = np.array(self.edges)
        return edges[:-1], edges[1:], np.array(self.bin_means)

    @classmethod
    def fit(cls, values: np.ndarray, bins: int, weights: np.ndarray | None = None) -> Self:
        """Learn from the values (n,) of training rows, of which at least two differ, with ``weights`` (n,)."""
        repeated = None if weights is None else copies.counts(weights)
        n = copies.number(values, repeated)
        levels = np.linspace(0, 1, min(KNOTS, n))
        knots = copies.quantiles(values, levels, repeated)
        # the outermost values stand for the middle of the first and the last 1/n
        inside = np.clip(levels, 0.5 / n, 1 - 0.5 / n)
        scores = np.array([NormalDist().inv_cdf(level) for level in inside])
        edges = np.unique(copies.quantiles(values, np.linspace(0, 1, bins + 1), repeated))
        shares = bin_shares(values[:, None], edges[:-1], edges[1:])
        raw = cls(tuple(knots), tuple(scores), 0.0, 1.0, tuple(edges), (), 1.0)
        middles = raw.middles(values)
        return replace(
            raw,
            score_shift=float(copies.mean(middles, weights)),
            score_scale=float(np.sqrt(copies.variance(middles, weights))) or 1.0,
            bin_means=tuple(copies.mean(shares, weights)),
            bin_scale=float(np.sqrt(copies.variance(shares, weights).sum())) or 1.0,
        )

    def middles(self, values: np.ndarray) -> np.ndarray:
        """Return the normal score of every value before it is standardised, (n,)."""
        forward, backward = self.lines
        values = self.snapped(values)
        middles: np.ndarray = (np.interp(values, *forward) - np.interp(-values, *backward)) / 2
        return middles


@dataclass(frozen=True)
class ColumnCode:
    """How one column is encoded: (value − shift) / scale, a missing value as ``fill``; or ``categories`` as 0/1.

    ``rare``: categories that training rows had and that count as other.
    ``circles``: the parts of a date that are encoded beside its position in time, see ``calendar``.
    ``text``: how texts become numbers.
    ``deviation``: standard deviation of the training rows; None in files of the first versions, and for categories.
    ``statistics``: mean targets of the categories, rare ones too, which are encoded beside their places.
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
    missing_words: tuple[str, ...] | None = None
    rare: tuple[str, ...] = ()
    circles: tuple[str, ...] = ()
    statistics: Statistics | None = None
    text: TextCode | None = None

    @property
    def names(self) -> list[str]:
        """The encoded columns."""
        if self.type == "categorical":
            names = [*(f"{self.name}={value}" for value in self.categories), f"{self.name}:other"]
        elif self.type == "datetime":
            circles = (f"{self.name}: {part} {function}" for part in self.circles for function in ("sin", "cos"))
            names = [f"{self.name}: position", *circles]
        elif self.text is not None:
            names = [f"{self.name}: {number} {words}".rstrip() for number, words in enumerate(self.text.words, 1)]
        else:
            names = [self.name]
        if self.expansion is not None:
            bins = range(1, len(self.expansion.edges))
            names += [f"{self.name}:rank", *(f"{self.name}:bin{number}" for number in bins)]
        means = [] if self.statistics is None else [f"{self.name}: target mean{end}" for end in self.statistics.names]
        return [*names, *([f"{self.name}:missing"] if self.missing else []), *means]

    @property
    def indicators(self) -> np.ndarray:
        """Which encoded column is 1 for each category; the last are for RARE, GAP and UNKNOWN, counted from the end."""
        other, placed = len(self.categories), len(self.levels)
        return np.array([*range(other), *[other] * (placed - other), other, other + self.missing, other])

    @property
    def levels(self) -> tuple[str, ...]:
        """The categories by their places in ``known``; with statistics rare ones have places too."""
        return self.categories if self.statistics is None else (*self.categories, *self.rare)

    @cached_property
    def known(self) -> Categories:
        """The categories that training rows had."""
        return Categories(self.levels, self.missing_words, self.rare if self.statistics is None else ())


def bin_shares(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the share of each bin below every value; values (n, bins) or (n, 1), bounds (bins,)."""
    clipped = np.clip(values, low, high)
    # halves keep the widths of bins of huge numbers finite
    shares: np.ndarray = (clipped / 2 - low / 2) / (high / 2 - low / 2)
    return shares


def code_of(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ColumnCode:
    expansion, statistics = document.get("expansion"), document.get("statistics")
    text = document.get("text")
    return ColumnCode(
        **{
            **_tuples(document),
            "expansion": None if expansion is None else Expansion(**_tuples(expansion)),
            "statistics": None if statistics is None else statistics_of(statistics),
            "text": None if text is None else TextCode.of(text, arrays),
        }
    )


def document_of(code: ColumnCode) -> dict[str, Any]:
    """Return what ``code_of`` makes the same code of, beside the arrays of its text."""
    document = asdict(replace(code, text=None))
    del document["text"]
    if code.statistics is None:
        # programs of before do not know them
        del document["statistics"]
    return document if code.text is None else {**document, "text": code.text.to_json()}


def _tuples(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


def learn(
    column: pa.ChunkedArray,
    described: ModelColumn,
    standardize: bool,
    bins: int | None,
    weights: np.ndarray | None = None,
) -> ColumnCode | None:
    if described.type == "text":
        return _text(column, described, weights)
    column = canonical(column)
    missing = 0 < column.null_count < len(column)
    if described.type == "categorical":
        categories, rare = _categories(column, weights)
        if len(categories) + bool(rare) + missing < 2:
            return None
        return ColumnCode(
            described.name,
            described.type,
            missing,
            categories=categories,
            rare=rare,
            missing_words=described.missing_words,
        )
    values = as_floats(column.drop_null()).to_numpy()
    if weights is not None:
        weights = weights[column.is_valid().to_numpy()]
    if len(values) == 0 or (values.min() == values.max() and not missing):
        return None
    # a power of two changes no digit, and squares of huge numbers stay finite
    unit = 2.0 ** (int(np.frexp(np.abs(values).max())[1]) - 1)
    mean = float(copies.mean(values / unit, weights)) * unit
    deviation = float(np.sqrt(copies.variance(values / unit, weights))) * unit
    moments = described.type == "datetime"
    # seconds since 1970 are in no one's unit
    standardize = standardize or moments
    scale = deviation if standardize and deviation > 0 else 1.0
    shift = mean if standardize else 0.0
    expansion = None
    if bins is not None and described.type == "numeric" and _can_expand(np.unique(values)):
        expansion = Expansion.fit(values, bins, weights)
    return ColumnCode(
        described.name,
        described.type,
        missing,
        fill=mean,
        shift=shift,
        scale=scale,
        expansion=expansion,
        deviation=deviation,
        missing_words=described.missing_words,
        circles=varying(values) if moments else (),
    )


def _text(column: pa.ChunkedArray, described: ModelColumn, weights: np.ndarray | None) -> ColumnCode | None:
    present = np.flatnonzero(without_missing(column, described.missing_words).is_valid())
    missing = 0 < len(present) < len(column)
    rows = learned_rows(present)
    cells = cells_of(column.take(pa.array(rows)).to_pylist(), described.missing_words)
    texts = {row: cell for row, cell in zip(rows.tolist(), cells, strict=True) if cell is not None}
    text = TextCode.fit([*texts.values()], None if weights is None else weights[[*texts]])
    if text is None and not missing:
        return None
    return ColumnCode(
        described.name,
        described.type,
        missing,
        missing_words=described.missing_words,
        text=TextCode.empty() if text is None else text,
    )


def _categories(column: pa.ChunkedArray, weights: np.ndarray | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the categories that have a place each, and the rare ones that share one, both sorted."""
    present = column.drop_null().combine_chunks().dictionary_encode()
    counted = None if weights is None else weights[column.is_valid().to_numpy()]
    rows = dict(zip(present.dictionary.to_pylist(), np.bincount(present.indices, counted), strict=True))
    frequent = sorted(rows)
    if len(rows) > MANY:
        frequent = sorted(frequent, key=lambda text: -rows[text])[:MOST]
        frequent = sorted(text for text in frequent if rows[text] >= LEAST_ROWS)
    return tuple(frequent), tuple(sorted(rows.keys() - frequent))


def _can_expand(distinct: np.ndarray) -> bool:
    """Return whether sorted values have ranks and bins: more than two, neither too near each other nor too far."""
    if len(distinct) <= 2:
        return False
    with np.errstate(over="ignore"):
        return bool(np.diff(distinct).min() >= SMALLEST_GAP and np.isfinite(distinct[-1] - distinct[0]))
