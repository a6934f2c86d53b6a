"""Grow a tree of cuts through rows, as the feature matrix sees them.

A node is cut at the median along the leading direction of its rows under M. What that takes of a batch of rows is
small: second moments (d, d), then one number a row. So a node whose rows are on disk is cut as one in memory is.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine import features
from worker.engine.blocks.tree import Tree, projections

OVERLAP = 0.1
"""Share of a node's rows, those nearest to the cut, that train both of its sides."""
MAX_DIRECTIONS = 3
"""So many directions are tried for a cut: columns with few values may allow none along the first."""
BALANCED = 0.25
"""A cut that leaves each side such a share of the rows is good enough to try no other direction."""
NORMAL_QUARTILES = 1.349
"""Between the quartiles of a normal distribution lie so many deviations."""


@dataclass(frozen=True)
class Moments:
    """Of ``count`` rows: ``mean`` (d,), and ``scatter`` (d, d) about it, float64."""

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, X: Tensor) -> "Moments":
        """Return the moments of rows X (n, d), of which there is at least one."""
        rows = X.double()
        mean = rows.mean(0)
        centred = rows - mean
        return cls(len(X), mean, centred.T @ centred)


@dataclass(frozen=True)
class Cut:
    """Where rows are cut along a direction (d,); see ``Tree``. ``smaller``: rows on the smaller side, as a share."""

    direction: Tensor
    threshold: float
    lower: float
    upper: float
    spread: float
    smaller: float


def combined(parts: Iterable[Moments]) -> Moments:
    """Return the moments of the rows of all parts, added in the given order (Chan, Golub, LeVeque 1979)."""
    total: Moments | None = None
    for part in parts:
        if total is None:
            total = part
            continue
        count = total.count + part.count
        share = part.count / count
        apart = part.mean - total.mean
        between = total.count * share * torch.outer(apart, apart)
        total = Moments(count, total.mean + share * apart, total.scatter + part.scatter + between)
    assert total is not None  # noqa: S101 - a node has rows
    return total


def leading_directions(moments: Moments, M: Tensor, count: int = MAX_DIRECTIONS) -> Tensor:
    """Return the leading directions of a node's rows under M, (count, d): M^½ u for eigenvectors u.

    u are those of M^½ S M^½ with S the scatter, from the largest eigenvalue down, their largest weights positive. So
    x · (M^½ u) is the coordinate of x along u where M's distance is the Euclidean one. ``count`` is at most d.
    """
    root = features.matrix_power(M, 0.5)
    seen = root.unsqueeze(1) * moments.scatter * root if root.ndim == 1 else root @ moments.scatter @ root
    vectors = torch.linalg.eigh((seen + seen.T) / 2).eigenvectors.flip(1)[:, :count]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = (vectors * torch.where(largest < 0, -1.0, 1.0)).T
    directions: Tensor = vectors * root if root.ndim == 1 else vectors @ root
    return directions


def find_cut(values: Tensor, direction: Tensor, overlap: float) -> Cut | None:
    """Return the cut of rows that project on ``direction`` to ``values`` (n,) float64, None where all are one value.

    It lies between two values, as near to the median as can be. ``overlap``: share of the smaller side's rows, and as
    many of the other's, that train both sides at most; rows of one value stay together. It is a share and no distance,
    so that both sides have fewer rows than the node however they are distributed: of normal rows a tenth lies within
    an eighth of the deviation.
    """
    values = values.sort().values
    n = len(values)
    ends = torch.nonzero(values[:-1] < values[1:]).squeeze(1) + 1
    if not len(ends):
        return None
    left = int(ends[(2 * ends - n).abs().argmin()])
    # of the smaller side: where most rows are one value, the others soon have leaves without them
    half = int(overlap * min(left, n - left))
    # the last place with at most `half` more rows on the left, and the first with at most so many fewer
    upper = int(ends[ends <= left + half].max())
    lower = int(ends[ends >= left - half].min())
    quartiles = float(values[(3 * n) // 4] - values[n // 4]) / NORMAL_QUARTILES
    spread = quartiles if quartiles > 0 else float(values.std(correction=0))
    smaller = min(left, n - left) / n
    return Cut(direction, _between(values, left), _between(values, lower), _between(values, upper), spread, smaller)


def cut_rows(batches: Callable[[], Iterable[Tensor]], M: Tensor, overlap: float) -> Cut | None:
    """Return the cut of a node along the first of its leading directions that balances its sides.

    ``batches``: gives the node's rows, in batches (n, d), as often as it is called. ``M`` (d, d) or (d,). Where no
    direction balances the sides, that which does best is taken. None where the rows are one point along all of them.
    """
    best: Cut | None = None
    for direction in leading_directions(combined(Moments.of(X) for X in batches() if len(X)), M):
        values = torch.cat([projections(X, direction.unsqueeze(0)).squeeze(1) for X in batches()])
        cut = find_cut(values, direction, overlap)
        if cut is not None and (best is None or cut.smaller > best.smaller):
            best = cut
        if best is not None and best.smaller >= BALANCED:
            break
    return best


def grow(X: Tensor, M: Tensor, leaf_rows: int, overlap: float = OVERLAP) -> Tree:
    """Return the tree of the rows X (n, d), whose leaves have at most ``leaf_rows`` training rows.

    A leaf has more where its rows cannot be told apart along the leading directions. ``M`` (d, d) or (d,).
    ``overlap``: see ``find_cut``; it is below 1, or leaves would not become smaller.
    """
    tree = Tree.single_leaf(X.shape[1]).to(X.device)
    rows_of = [torch.arange(len(X), device=X.device)]
    leaf = 0
    while leaf < tree.leaves:
        rows = rows_of[leaf]
        # the left side keeps the leaf's number, and may be cut again
        cut = _cut_of(X[rows], M, overlap) if len(rows) > leaf_rows else None
        if cut is None:
            leaf += 1
            continue
        tree = tree.with_cut(leaf, cut.direction, cut.threshold, cut.lower, cut.upper, cut.spread)
        distances = projections(X[rows], cut.direction.unsqueeze(0)).squeeze(1)
        rows_of[leaf] = rows[distances <= cut.upper]
        rows_of.append(rows[distances > cut.lower])
    return tree


def _cut_of(rows: Tensor, M: Tensor, overlap: float) -> Cut | None:
    return cut_rows(lambda: (rows,), M, overlap)


def _between(values: Tensor, place: int) -> float:
    """Return a number from values[place − 1] up to, but not including, values[place], in their middle if there is one.

    ``values`` ascend, and these two differ.
    """
    below, above = float(values[place - 1]), float(values[place])
    middle = below + (above - below) / 2
    return middle if middle < above and math.isfinite(middle) else below
