"""Mean targets of the categories of a column, of training rows out of fold.

A training row is encoded by the targets of rows of other folds, never by its own; any later row by those of all
training rows. Were a training row encoded as later ones are, a category of few rows would give its own target away.

Means are drawn to that of all rows as scikit-learn's ``TargetEncoder`` does: ``smooth`` rows of it are added, by
default so many as the variance within the categories is times that between them. Its own default takes the variance
within each category from that category's rows, and so believes one row, or two that agree, without any doubt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from worker.contracts.base import Label
from worker.tables.encoding import copies, splits
from worker.tables.encoding.categories import GAP

MANY = 24
"""Columns with more categories have statistics."""
FOLDS = 5
SMALLEST_SHARE = 0.05
"""Means whose deviation is below this share of the target's are not stretched to 1: they tell next to nothing."""


@dataclass(frozen=True)
class TrainingTargets:
    """What training rows are encoded by: coded targets ``Y`` (n, c) and the fold of each row, ``folds`` (n,).

    ``names``: of each of the c means, what stands behind "target mean". ``weights`` (n,): of the rows.
    """

    Y: np.ndarray
    folds: np.ndarray
    names: tuple[str, ...]
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, raw: np.ndarray, classes: Sequence[Label] | None, seed: int, weights: np.ndarray | None = None) -> Self:
        """Code raw targets, (n, c) outputs or (n,) codes of ``classes``; of two classes the second is enough."""
        n, codes = len(raw), None if classes is None else raw
        if weights is not None:
            weights = copies.counts(weights)
        fold = np.zeros(n, np.int64)
        for number, (_, held) in enumerate(splits.folds(n, min(FOLDS, n), seed, codes)):
            fold[held] = number
        if classes is None:
            outputs = raw.reshape(n, -1)
            unit = np.abs(outputs).max(0)
            outputs = outputs / np.where(unit > 0, unit, 1.0)
            deviation = np.sqrt(copies.variance(outputs, weights))
            Y = (outputs - copies.mean(outputs, weights)) / np.where(deviation > 0, deviation, 1.0)
            names = ("",) if Y.shape[1] == 1 else tuple(f" {number}" for number in range(1, Y.shape[1] + 1))
            return cls(Y, fold, names, weights)
        first = 1 if len(classes) == 2 else 0
        Y = (raw[:, None] == np.arange(first, len(classes))).astype(float)
        return cls(Y, fold, tuple(f" of {label}" for label in classes[first:]), weights)


@dataclass(frozen=True)
class Statistics:
    """Mean targets as they stand in encoded rows.

    ``means``: a tuple of c for each category, then for RARE, GAP and UNKNOWN, which are counted from the end.
    ``shift`` (c) was subtracted, and ``scale`` divides. ``names``: as of ``TrainingTargets``.
    """

    means: tuple[tuple[float, ...], ...]
    shift: tuple[float, ...]
    scale: float
    names: tuple[str, ...]

    @cached_property
    def table(self) -> np.ndarray:
        """The means, (categories + 3, c), indexed by what ``Categories`` gives."""
        return np.array(self.means)


def statistics_of(document: Mapping[str, Any]) -> Statistics:
    """Return what ``dataclasses.asdict`` wrote down."""
    means = tuple(tuple(row) for row in document["means"])
    return Statistics(means, tuple(document["shift"]), document["scale"], tuple(document["names"]))


def learn_statistics(places: np.ndarray, categories: int, targets: TrainingTargets) -> Statistics:
    """Return the means that later rows are encoded by.

    ``places`` (n,): of training rows, as ``Categories`` gives them, among so many ``categories``.
    """
    training = out_of_fold_means(places, categories, targets)
    shift = copies.mean(training, targets.weights)
    spread = [np.sqrt(copies.variance(values, targets.weights).sum()) for values in (training, targets.Y)]
    scale = float(max(spread[0], SMALLEST_SHARE * spread[1])) or 1.0
    levels = np.where(places == GAP, categories, places)
    found, prior = level_means(levels, categories + 1, targets.Y, targets.weights)
    means = (np.vstack([found[:-1], prior, found[-1:], prior]) - shift) / scale
    return Statistics(tuple(map(tuple, means.tolist())), tuple(shift.tolist()), scale, targets.names)


def out_of_fold(statistics: Statistics, places: np.ndarray, targets: TrainingTargets) -> np.ndarray:
    """Return training rows encoded, (n, c), each by the rows of other folds."""
    categories = len(statistics.means) - 3
    encoded: np.ndarray = (out_of_fold_means(places, categories, targets) - statistics.shift) / statistics.scale
    return encoded


def out_of_fold_means(
    places: np.ndarray, categories: int, targets: TrainingTargets, smooth: float | None = None
) -> np.ndarray:
    """Return for every training row the mean target of its category in the other folds, (n, c)."""
    levels = np.where(places == GAP, categories, places)
    means = np.empty_like(targets.Y)
    for others, held in _parts(targets.folds):
        weights = None if targets.weights is None else targets.weights[others]
        found, _ = level_means(levels[others], categories + 1, targets.Y[others], weights, smooth)
        means[held] = found[levels[held]]
    return means


def level_means(
    levels: np.ndarray, count: int, Y: np.ndarray, weights: np.ndarray | None = None, smooth: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the means (count, c) of Y (n, c) over the rows of each level (n,), and the mean of all rows (c,).

    Those of levels without rows are the mean of all.
    """
    rows = np.bincount(levels, weights, minlength=count).astype(float)
    prior = copies.mean(Y, weights)
    centred = Y - prior
    raw = _sums(levels, count, centred, weights) / np.where(rows > 0, rows, 1.0)[:, None]
    added = _smoothing(levels, rows, centred, raw, weights) if smooth is None else np.full(Y.shape[1], smooth)
    share = np.zeros_like(raw)
    there = rows > 0
    share[there] = rows[there, None] / (rows[there, None] + added)
    return prior + share * raw, prior


def _smoothing(
    levels: np.ndarray, rows: np.ndarray, centred: np.ndarray, raw: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return how many rows of the mean of all are added to each level, (c,): the moments of a one-way analysis."""
    within = _sums(levels, len(rows), (centred - raw[levels]) ** 2, weights).sum(0)
    total, count = rows.sum(), int((rows > 0).sum())
    if count < 2 or total <= count:
        # nothing tells chance from what a level has of its own
        return np.full(centred.shape[1], np.inf)
    within = within / (total - count)
    typical = (total - (rows**2).sum() / total) / (count - 1)
    between = ((rows[:, None] * raw**2).sum(0) / (count - 1) - within) / typical
    return np.where(between > 0, within / np.where(between > 0, between, 1.0), np.inf)


def _sums(levels: np.ndarray, count: int, Y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weighted sums of Y (n, c) by level, (count, c)."""
    columns = [np.bincount(levels, column if weights is None else column * weights, count) for column in Y.T]
    return np.stack(columns, axis=1)


def _parts(folds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows outside of each fold, and those in it."""
    for fold in range(int(folds.max()) + 1):
        yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
