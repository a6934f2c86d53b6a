"""Grow a tree of cuts through rows that lie in shards, as the feature matrix sees them.

A node is cut at the median along the leading direction of its rows under M. What that takes of a shard is small: second
moments (d, d) of every node, then one number a row. Nothing ever needs all rows together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine import features
from worker.engine.blocks.tree import Tree, assign, projections

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
    """Of the rows of k nodes: ``counts`` (k,) int64, ``means`` (k, d), ``scatters`` (k, d, d) about them, float64."""

    counts: Tensor
    means: Tensor
    scatters: Tensor


@dataclass(frozen=True)
class Cut:
    """Where rows are cut along a direction; see ``Tree``. ``smaller``: rows on the smaller side, as a share."""

    threshold: float
    lower: float
    upper: float
    spread: float
    smaller: float


def leaf_moments(tree: Tree, X: Tensor, leaves: Sequence[int]) -> Moments:
    """Return the moments of the rows X (n, d) of one shard that train each of some leaves."""
    assignment = assign(tree, X)
    d = X.shape[1]
    counts = torch.zeros(len(leaves), dtype=torch.int64, device=X.device)
    means = torch.zeros((len(leaves), d), dtype=torch.float64, device=X.device)
    scatters = torch.zeros((len(leaves), d, d), dtype=torch.float64, device=X.device)
    for place, leaf in enumerate(leaves):
        rows = X[assignment.of(leaf)].double()
        if len(rows):
            counts[place] = len(rows)
            means[place] = rows.mean(0)
            centred = rows - means[place]
            scatters[place] = centred.T @ centred
    return Moments(counts, means, scatters)


def combined(parts: Sequence[Moments]) -> Moments:
    """Return the moments of all shards' rows, added in the given order (Chan, Golub, LeVeque 1979)."""
    total = parts[0]
    for part in parts[1:]:
        counts = total.counts + part.counts
        share = (part.counts / counts.clamp(min=1)).unsqueeze(1)
        apart = part.means - total.means
        between = (total.counts.unsqueeze(1) * share * apart).unsqueeze(2) * apart.unsqueeze(1)
        total = Moments(counts, total.means + share * apart, total.scatters + part.scatters + between)
    return total


def leading_directions(moments: Moments, M: Tensor, count: int = MAX_DIRECTIONS) -> Tensor:
    """Return the leading directions of each node's rows under M, (k, count, d): M^½ u for eigenvectors u.

    u are those of M^½ S M^½ with S a scatter, from the largest eigenvalue down, their largest weights positive. So
    x · (M^½ u) is the coordinate of x along u where M's distance is the Euclidean one. ``count`` is at most d.
    """
    count = min(count, moments.means.shape[1])
    root = features.matrix_power(M, 0.5)
    found = []
    for scatter in moments.scatters:
        seen = root.unsqueeze(1) * scatter * root if root.ndim == 1 else root @ scatter @ root
        vectors = torch.linalg.eigh((seen + seen.T) / 2).eigenvectors.flip(1)[:, :count]
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        vectors = (vectors * torch.where(largest < 0, -1.0, 1.0)).T
        found.append(vectors * root if root.ndim == 1 else vectors @ root)
    return torch.stack(found)


def leaf_projections(tree: Tree, X: Tensor, leaves: Sequence[int], directions: Tensor) -> list[Tensor]:
    """Return how each leaf's training rows of one shard X lie along its directions (k, t, d), (rows, t) a leaf."""
    assignment = assign(tree, X)
    return [projections(X[assignment.of(leaf)], own) for leaf, own in zip(leaves, directions, strict=True)]


def find_cut(values: Tensor, overlap: float) -> Cut | None:
    """Return the cut of rows that project to ``values`` (n,) float64, None where all are one value.

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
    return Cut(
        _between(values, left), _between(values, lower), _between(values, upper), spread, min(left, n - left) / n
    )


def cut_leaf(tree: Tree, leaf: int, directions: Tensor, values: Tensor, overlap: float) -> Tree | None:
    """Return the tree with a leaf cut along the first of some directions (t, d) that balances its sides.

    ``values`` (n, t): of the leaf's rows of all shards. Where no direction balances them, that which does best is
    taken. None where the rows are one point along all directions.
    """
    best: tuple[Tensor, Cut] | None = None
    for direction, column in zip(directions, values.T, strict=True):
        cut = find_cut(column, overlap)
        if cut is not None and (best is None or cut.smaller > best[1].smaller):
            best = direction, cut
        if best is not None and best[1].smaller >= BALANCED:
            break
    if best is None:
        return None
    direction, cut = best
    return tree.with_cut(leaf, direction, cut.threshold, cut.lower, cut.upper, cut.spread)


def grow(shards: Sequence[Tensor], M: Tensor, leaf_rows: int, overlap: float = OVERLAP) -> Tree:
    """Return the tree of the rows of all shards, each (n, d), whose leaves have at most ``leaf_rows`` training rows.

    A leaf has more where its rows cannot be told apart along the leading directions. ``M`` (d, d) or (d,).
    ``overlap``: see ``find_cut``; it is below 1, or leaves would not become smaller.
    """
    tree = Tree.single_leaf(shards[0].shape[1]).to(shards[0].device)
    whole: set[int] = set()
    while True:
        counts = sum((assign(tree, X).counts for X in shards[1:]), assign(tree, shards[0]).counts).tolist()
        large = [leaf for leaf, count in enumerate(counts) if count > leaf_rows and leaf not in whole]
        if not large:
            return tree
        directions = leading_directions(combined([leaf_moments(tree, X, large) for X in shards]), M)
        by_shard = [leaf_projections(tree, X, large, directions) for X in shards]
        for leaf, own, parts in zip(large, directions, zip(*by_shard, strict=True), strict=True):
            following = cut_leaf(tree, leaf, own, torch.cat(parts), overlap)
            if following is None:
                whole.add(leaf)
            else:
                tree = following


def _between(values: Tensor, place: int) -> float:
    """Return a number from values[place − 1] up to, but not including, values[place], in their middle if there is one.

    ``values`` ascend, and these two differ.
    """
    below, above = float(values[place - 1]), float(values[place])
    middle = below + (above - below) / 2
    return middle if middle < above and math.isfinite(middle) else below
