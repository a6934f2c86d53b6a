"""A tree of cuts through the rows: which leaves a row trains, and which leaves answer it, with what weight.

A cut is a hyperplane: a row's signed distance to it, as the feature matrix measures, is x · direction − threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

MAX_LEAVES = 3
"""So many leaves answer a row at most."""
NEGLIGIBLE = 0.02
"""Leaves with a smaller weight before they are normalised do not answer: each costs as much as the first."""
ROWS, NUMBERS = 4096, 2**20
"""Projections and weights are taken of so many rows at a time, and of fewer where these have more numbers: near many
cuts a row has a number for many leaves."""


@dataclass(frozen=True)
class Tree:
    """Cuts 0 to s − 1, every one before those below it, and leaves 0 to s. Everything of rows is float64.

    ``directions`` (s, d). ``thresholds`` (s,). ``lower``, ``upper`` (s,): rows that project above ``lower`` train the
    right side, rows up to ``upper`` the left one, so those between train both. ``spreads`` (s,): the deviation of the
    cut's rows along its direction, by their quartiles; weights are functions of the distance in these. ``children``
    (s, 2) int64: left and right, the number of a cut, or −1 − the number of a leaf.
    """

    directions: Tensor
    thresholds: Tensor
    lower: Tensor
    upper: Tensor
    spreads: Tensor
    children: Tensor

    @classmethod
    def single_leaf(cls, d: int) -> Self:
        """Return the tree without cuts, for rows of d columns."""
        nothing = torch.zeros(0, dtype=torch.float64)
        return cls(
            torch.zeros((0, d), dtype=torch.float64),
            nothing,
            nothing,
            nothing,
            nothing,
            torch.zeros((0, 2), dtype=torch.int64),
        )

    @property
    def leaves(self) -> int:
        """How many leaves there are."""
        return len(self.thresholds) + 1

    def with_cut(
        self, leaf: int, direction: Tensor, threshold: float, lower: float, upper: float, spread: float
    ) -> Self:
        """Return the tree with ``leaf`` cut in two: the left side keeps its number, the right one is the last leaf."""
        children = torch.where(self.children == -1 - leaf, len(self.thresholds), self.children)
        sides = children.new_tensor([[-1 - leaf, -1 - self.leaves]])

        def with_value(kept: Tensor, value: float) -> Tensor:
            return torch.cat([kept, kept.new_tensor([value])])

        return type(self)(
            torch.cat([self.directions, direction.unsqueeze(0)]),
            with_value(self.thresholds, threshold),
            with_value(self.lower, lower),
            with_value(self.upper, upper),
            with_value(self.spreads, spread),
            torch.cat([children, sides]),
        )

    def with_subtree(self, leaf: int, subtree: "Tree") -> Self:
        """Return the tree with ``leaf`` cut as a tree of its rows alone says.

        Leaf 0 of the subtree keeps the leaf's number, the others follow the last leaf.
        """
        cuts, leaves = len(self.thresholds), self.leaves
        if subtree.leaves == 1:
            return self
        # of a leaf's code −1 − k: k = 0 is the leaf itself, k > 0 the k-th after the last one
        inner = subtree.children
        numbers = torch.where(inner == -1, -1 - leaf, inner - leaves + 1)
        inner = torch.where(inner < 0, numbers, inner + cuts)
        children = torch.cat([torch.where(self.children == -1 - leaf, cuts, self.children), inner])
        parts = zip(self.to_tensors().items(), subtree.to_tensors().values(), strict=True)
        joined = {name: torch.cat([own, other]) for (name, own), other in parts if name != "children"}
        return type(self)(**joined, children=children)

    def to(self, device: torch.device) -> Self:
        """Return the same tree on ``device``."""
        return type(self)(*(tensor.to(device) for tensor in self.to_tensors().values()))

    def to_tensors(self) -> dict[str, Tensor]:
        """Return its tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the tree of ``to_tensors``; other names are ignored.

        Raises:
            KeyError: a tensor is missing.
            ValueError: the tensors do not go together, or the cuts are no tree.
        """
        tree = cls(*(tensors[field.name] for field in fields(cls)))
        s = len(tree.thresholds)
        sides = tree.children.flatten().tolist()
        expected = sorted([*range(1, s), *range(-1 - s, 0)]) if s else []
        ordered = all(child < 0 or child > place // 2 for place, child in enumerate(sides))
        if tree.directions.ndim != 2 or len({len(tensor) for tensor in tree.to_tensors().values()}) != 1:
            raise ValueError("the tree's tensors do not go together")
        if sorted(sides) != expected or not ordered:
            raise ValueError("the tree's children are not those of a tree")
        return tree


@dataclass(frozen=True)
class Assignment:
    """Rows by leaf: those of leaf k are ``rows[starts[k] : starts[k + 1]]``, in ascending order.

    ``rows`` (p,) and ``starts`` (leaves + 1,) int64.
    """

    rows: Tensor
    starts: Tensor

    def of(self, leaf: int) -> Tensor:
        """Return the rows of a leaf."""
        return self.rows[int(self.starts[leaf]) : int(self.starts[leaf + 1])]

    @property
    def counts(self) -> Tensor:
        """How many rows each leaf has, (leaves,)."""
        return self.starts.diff()


def projections(X: Tensor, directions: Tensor) -> Tensor:
    """Return X directionsᵀ, (m, s) float64, whose bits depend on nothing but the row and the direction.

    A matrix product rounds a row as the rows beside it have it; here columns are added one after another.
    """
    found = torch.zeros((len(directions), len(X)), dtype=torch.float64, device=X.device)
    size = _rows_at_once(X.shape[1])
    for start in range(0, len(X), size):
        part = found[:, start : start + size]
        for values, weights in zip(X[start : start + size].T.contiguous(), directions.T, strict=True):
            part += values.double() * weights.unsqueeze(1)
    return found.T


def _rows_at_once(d: int) -> int:
    return min(max(NUMBERS // max(d, 1), 1), ROWS)


def assign(tree: Tree, X: Tensor, *, overlap: bool = True) -> Assignment:
    """Return the rows of X (n, d) by the leaves that they train: at least one each, several near a cut.

    ``overlap``: false for the one leaf on whose side of all cuts a row lies.
    """
    by_node: dict[int, Tensor] = {0 if tree.leaves > 1 else -1: torch.arange(len(X), device=X.device)}
    for cut, (left, right) in enumerate(tree.children.tolist()):
        rows = by_node.pop(cut)
        distances = projections(X[rows], tree.directions[cut : cut + 1]).squeeze(1)
        upper, lower = (tree.upper[cut], tree.lower[cut]) if overlap else (tree.thresholds[cut], tree.thresholds[cut])
        by_node[left] = rows[distances <= upper]
        by_node[right] = rows[distances > lower]
    leaves = [by_node[-1 - leaf] for leaf in range(tree.leaves)]
    counts = torch.tensor([0, *(len(rows) for rows in leaves)], device=X.device)
    return Assignment(torch.cat(leaves), counts.cumsum(0))


def weights(tree: Tree, X: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the leaves that answer each row of X (m, d), (m, k) int64, and their weights (m, k) float64, k ≤ 3.

    A leaf's weight is the product along its path of s(± distance to the cut / (spread · temperature)), where s climbs
    from 0 at −1 to 1 at 1: s(z) = t²(3 − 2t) with t = (1 + z)/2. The three largest are kept, those that are negligible
    are 0, whichever leaf they name, and the rest sums to 1. ``temperature`` 0: the row's own leaf alone. Nothing here
    rounds a row by the rows beside it, as torch.sigmoid does.
    """
    parts = [_weights(tree, part, temperature) for part in torch.split(X, _rows_at_once(X.shape[1]))]
    return torch.cat([leaves for leaves, _ in parts]), torch.cat([found for _, found in parts])


def _weights(tree: Tree, X: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return what ``weights`` does: all rows go down the tree together, one level after another."""
    columns = X.double().T.contiguous()
    rows = torch.arange(len(X), device=X.device)
    nodes = torch.full_like(rows, 0 if tree.leaves > 1 else -1)
    weight = torch.ones(len(X), dtype=torch.float64, device=X.device)
    ended: list[tuple[Tensor, Tensor, Tensor]] = []
    while True:
        cut = nodes >= 0
        ended.append((rows[~cut], -1 - nodes[~cut], weight[~cut]))
        rows, nodes, weight = rows[cut], nodes[cut], weight[cut]
        if not len(rows):
            break
        # not by a number: what is divided by one is multiplied with its inverse
        distances = (_along_cuts(tree, columns, rows, nodes) - tree.thresholds[nodes]) / tree.spreads[nodes]
        if temperature == 0:
            right = (distances > 0).double()
        else:
            t = (distances / temperature).clamp(-1.0, 1.0).add(1.0).div(2.0)
            right = t * t * (3 - 2 * t)
        weight = torch.cat([weight * (1 - right), weight * right])
        # a row that has no place, NaN, goes everywhere
        inside = weight != 0
        rows, nodes, weight = torch.cat([rows, rows])[inside], tree.children[nodes].T.flatten()[inside], weight[inside]
    rows, answering, found = (torch.cat(parts) for parts in zip(*ended, strict=True))
    return _largest(rows, answering, found, len(X), min(MAX_LEAVES, tree.leaves))


def _along_cuts(tree: Tree, columns: Tensor, rows: Tensor, cuts: Tensor) -> Tensor:
    """Return the projections of some rows on the direction of a cut each, (p,), with the bits of ``projections``.

    ``columns`` (d, m): the rows' values. ``rows``, ``cuts`` (p,): which.
    """
    found = []
    size = _rows_at_once(len(columns))
    for of_rows, of_cuts in zip(torch.split(rows, size), torch.split(cuts, size), strict=True):
        total = torch.zeros(len(of_rows), dtype=torch.float64, device=rows.device)
        for product in columns[:, of_rows] * tree.directions[of_cuts].T:
            total += product
        found.append(total)
    return torch.cat(found)


def _largest(rows: Tensor, answering: Tensor, found: Tensor, m: int, k: int) -> tuple[Tensor, Tensor]:
    """Return of each of m rows the k leaves with the largest weights, the first of equals, and their weights.

    ``rows``, ``answering`` and ``found`` (p,): a row, a leaf and its weight there.
    """
    order = answering.argsort(stable=True)
    rows, answering, found = rows[order], answering[order], found[order]
    order = found.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    rows, found, answering = rows[order], found[order], answering[order]
    counts = torch.bincount(rows, minlength=m)
    places = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    first = places < k
    chosen = torch.zeros((m, k), dtype=torch.int64, device=rows.device)
    kept = torch.zeros((m, k), dtype=torch.float64, device=rows.device)
    chosen[rows[first], places[first]] = answering[first]
    kept[rows[first], places[first]] = found[first]
    # the first one always answers, however many leaves share a row
    kept[:, 1:] = torch.where(kept[:, 1:] < NEGLIGIBLE, 0.0, kept[:, 1:])
    total = kept[:, 0].clone()
    for column in range(1, k):
        total += kept[:, column]
    return chosen, kept / total.unsqueeze(1)
