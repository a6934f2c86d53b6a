"""Grow a tree of cuts through rows, as the feature matrix sees them.

A node is cut at the median along the leading direction of its rows under M.
"""

import math
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
class Cut:
    """Where rows are cut along a direction (d,); see ``Tree``. ``smaller``: rows on the smaller side, as a share."""

    direction: Tensor
    threshold: float
    lower: float
    upper: float
    spread: float
    smaller: float


def leading_directions(X: Tensor, M: Tensor, count: int = MAX_DIRECTIONS) -> Tensor:
    """Return the leading directions of a node's rows X (n, d) under M, (count, d) float64: M^½ u for eigenvectors u.

    u are those of M^½ S M^½ with S the rows' scatter, from the largest eigenvalue down, their largest weights
    positive. So x · (M^½ u) is the coordinate of x along u where M's distance is the Euclidean one. ``count`` is at
    most d.
    """
    root = features.matrix_power(M, 0.5)
    centred = X.double()
    centred = centred - centred.mean(0)
    scatter = centred.T @ centred
    seen = root.unsqueeze(1) * scatter * root if root.ndim == 1 else root @ scatter @ root
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


def cut_rows(X: Tensor, M: Tensor, overlap: float) -> tuple[Cut, Tensor] | None:
    """Return the cut of rows X (n, d) along the first of their leading directions that balances its sides.

    With it come the rows' projections on that direction, (n,). ``M`` (d, d) or (d,). Where no direction balances the
    sides, that which does best is taken. None where the rows are one point along all of them.
    """
    best: tuple[Cut, Tensor] | None = None
    for direction in leading_directions(X, M):
        values = projections(X, direction.unsqueeze(0)).squeeze(1)
        cut = find_cut(values, direction, overlap)
        if cut is not None and (best is None or cut.smaller > best[0].smaller):
            best = cut, values
        if best is not None and best[0].smaller >= BALANCED:
            break
    return best


def grow(X: Tensor, M: Tensor, leaf_rows: int, overlap: float = OVERLAP) -> tuple[Tree, list[Tensor]]:
    """Return the tree of the rows X (n, d), and which of them train each leaf, as ``assign`` would say.

    A leaf has at most ``leaf_rows`` of them, or more where they cannot be told apart along the leading directions.
    ``M`` (d, d) or (d,). ``overlap``: see ``find_cut``; it is below 1, or leaves would not become smaller.
    """
    tree = Tree.single_leaf(X.shape[1]).to(X.device)
    rows_of = [torch.arange(len(X), device=X.device)]
    leaf = 0
    while leaf < tree.leaves:
        rows = rows_of[leaf]
        # the left side keeps the leaf's number, and may be cut again
        found = cut_rows(X[rows], M, overlap) if len(rows) > leaf_rows else None
        if found is None:
            leaf += 1
            continue
        cut, values = found
        tree = tree.with_cut(leaf, cut.direction, cut.threshold, cut.lower, cut.upper, cut.spread)
        rows_of[leaf] = rows[values <= cut.upper]
        rows_of.append(rows[values > cut.lower])
    return tree, rows_of


def _between(values: Tensor, place: int) -> float:
    """Return a number from values[place − 1] up to, but not including, values[place], in their middle if there is one.

    ``values`` ascend, and these two differ.
    """
    below, above = float(values[place - 1]), float(values[place])
    middle = below + (above - below) / 2
    return middle if middle < above and math.isfinite(middle) else below
