"""The leaf map of a model that was fitted by blocks: the rule of each leaf, in the names of the table's columns.

A cut is a hyperplane over all encoded columns. Most of them hardly move a row across it, so a rule names those that
do: by |weight| · deviation, what one deviation of the column adds to x · direction.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import CutColumn, Leaf, LeafCut, Loading, Page
from worker.engine.blocks.model import BlocksModel
from worker.engine.blocks.paths import Paths
from worker.engine.blocks.tree import Tree
from worker.engine.targets import RegressionTargets
from worker.serving.model import ServedModel
from worker.tables.close_names import shown
from worker.tables.encoding.column_code import ColumnCode
from worker.tables.encoding.encoder import Encoder

MAX_COLUMNS = 4
"""So many columns of a cut are named at most."""
ENOUGH = 0.9
"""No more columns are named where those that are hold such a share of the cut's spread."""
MAX_WEIGHTS = 3
"""So many encoded columns of one that is named are listed at most."""
OF_PARTS = ("datetime", "text")
"""Types whose encoded columns are each something of its own."""
MAX_CUTS = 4000
"""A page ends where its rules have so many cuts: a tree may be as deep as it has leaves."""


@dataclass(frozen=True)
class Branch:
    """One side of a cut, for a picture of the first cuts: ``leaf`` where it ends there, else what is below it.

    ``leaves``: how many there are of it. ``below`` is empty also where the picture ends.
    """

    cut: LeafCut
    leaves: int
    leaf: int | None
    below: list["Branch"] = field(default_factory=list)


def leaf_page(model: ServedModel, *, limit: int, after: int | None = None) -> Page[Leaf]:
    """Return leaves from left to right in the tree, those behind the leaf ``after``.

    Leaves beside each other share their first cuts. A page has fewer leaves than ``limit`` where rules are long.

    Raises:
        Conflict: the model is one kernel machine.
        InvalidRequest: it has no leaf ``after``.
    """
    fitted = model.tree_of_machines("a leaf map")
    paths = Paths.of(fitted.tree)
    if after is not None and after >= fitted.tree.leaves:
        raise InvalidRequest.at("query:after", f"there is no leaf {after}: the last one is {fitted.tree.leaves - 1}")
    start = 0 if after is None else paths.order.index(after) + 1
    cuts = CutNames(fitted.tree, fitted.variances.cpu().numpy(), model.encoder)
    rows = fitted.leaf_rows
    leaves: list[Leaf] = []
    named = 0
    for leaf in paths.order[start : start + limit]:
        steps = paths.to(leaf)
        named += len(steps)
        if leaves and named > MAX_CUTS:
            break
        rule = [cuts.side(cut, right) for cut, right in steps]
        leaves.append(
            Leaf(
                leaf=leaf,
                rows=rows[leaf],
                rule=rule,
                ridge=fitted.ridges[leaf],
                metrics=_metrics(fitted, leaf),
            )
        )
    more = start + len(leaves) < len(paths.order)
    return Page[Leaf](items=leaves, next=str(leaves[-1].leaf) if more else None)


def first_cuts(model: ServedModel, levels: int) -> list[Branch]:
    """Return both sides of the first cut, and below them those of the next ones; none where there is no cut.

    Raises:
        Conflict: the model is one kernel machine.
    """
    fitted = model.tree_of_machines("a leaf map")
    paths, children = Paths.of(fitted.tree), fitted.tree.children.tolist()
    cuts = CutNames(fitted.tree, fitted.variances.cpu().numpy(), model.encoder)

    def branches(cut: int, level: int) -> list[Branch]:
        return [
            Branch(
                cuts.side(cut, right),
                leaves=1 if node < 0 else paths.counts[node],
                leaf=-1 - node if node < 0 else None,
                below=branches(node, level + 1) if node >= 0 and level < levels else [],
            )
            for right, node in zip((False, True), children[cut], strict=True)
        ]

    return branches(0, 1) if children else []


class CutNames:
    """Says each side of a cut in the names of columns. Cuts that several leaves share are described once.

    ``variances`` (d,): of the encoded training rows.
    """

    def __init__(self, tree: Tree, variances: np.ndarray, encoder: Encoder) -> None:
        self._directions = tree.directions.cpu().numpy()
        self._thresholds = tree.thresholds.tolist()
        self._deviations = np.sqrt(variances)
        self._names = encoder.names
        self._codes = encoder.codes
        self._places = encoder.layout.places
        self._starts = np.array([place.start for place in self._places])
        self._cuts: dict[int, tuple[LeafCut, LeafCut]] = {}

    def side(self, cut: int, right: bool) -> LeafCut:
        """Return a cut with one of its sides: the right one has x · direction > threshold."""
        if cut not in self._cuts:
            self._cuts[cut] = self._described(cut)
        return self._cuts[cut][right]

    def _described(self, cut: int) -> tuple[LeafCut, LeafCut]:
        weights = self._directions[cut]
        moves = self._moves(weights)
        shares = moves**2
        by_code = np.add.reduceat(shares, self._starts)
        columns: list[CutColumn] = []
        words: list[tuple[str, str]] = []
        held = 0.0
        for number in np.argsort(-by_code, kind="stable")[:MAX_COLUMNS].tolist():
            if held >= ENOUGH or by_code[number] == 0:
                break
            held += float(by_code[number])
            code, place = self._codes[number], self._places[number]
            leading = np.argsort(-shares[place], kind="stable")
            listed = [place.start + offset for offset in leading[:MAX_WEIGHTS].tolist() if shares[place][offset] > 0]
            loadings = [Loading(feature=self._names[index], weight=float(weights[index])) for index in listed]
            columns.append(CutColumn(feature=code.name, share=float(by_code[number]), weights=loadings))
            low, high = _ends(code, int(leading[0]))
            words.append((low, high) if _climb(code, moves[place], int(leading[0])) else (high, low))

        def side(right: bool) -> LeafCut:
            return LeafCut(
                cut=cut,
                side="above" if right else "below",
                summary=", ".join(pair[right] for pair in words),
                threshold=self._thresholds[cut],
                share=min(held, 1.0),
                columns=columns,
            )

        return side(False), side(True)

    def _moves(self, weights: np.ndarray) -> np.ndarray:
        """Return how far one deviation of each encoded column moves a row along a cut, (d,), of length 1."""
        moves = weights * self._deviations
        # the squares of huge numbers would overflow, those of tiny ones vanish
        moves = moves / (np.abs(moves).max() or 1.0)
        unit: np.ndarray = moves / (np.linalg.norm(moves) or 1.0)
        return unit


def _climb(code: ColumnCode, moves: np.ndarray, leading: int) -> bool:
    """Return whether a row rises along the cut with what the leading encoded column of a code stands for.

    All views of a numeric column rise with its value, so they are added up.
    """
    if _is_view(code, leading) and code.type not in OF_PARTS:
        total = float(moves[: len(moves) - code.missing].sum())
        if total != 0:
            return total > 0
    return bool(moves[leading] > 0)


def _is_view(code: ColumnCode, offset: int) -> bool:
    """Return whether an encoded column holds a number, and not whether a row has a category or lacks a value."""
    return code.type != "categorical" and not (code.missing and offset == len(code.names) - 1)


def _ends(code: ColumnCode, offset: int) -> tuple[str, str]:
    """Return both ends of an encoded column in words: where it is small, and where it is large."""
    name = shown(code.name)
    if code.type in OF_PARTS and _is_view(code, offset):
        return f"low {shown(code.names[offset])}", f"high {shown(code.names[offset])}"
    if _is_view(code, offset):
        return (f"{name} = false", f"{name} = true") if code.type == "boolean" else (f"low {name}", f"high {name}")
    if offset < len(code.categories):
        value = shown(code.categories[offset])
    else:
        value = "other" if code.type == "categorical" and offset == len(code.categories) else "missing"
    return f"{name} ≠ {value}", f"{name} = {value}"


def _metrics(fitted: BlocksModel, leaf: int) -> dict[str, float]:
    loss = fitted.losses[leaf]
    metrics = {"leave_one_out_loss": loss}
    if isinstance(fitted.targets, RegressionTargets) and fitted.targets.n_outputs == 1:
        metrics["leave_one_out_rmse"] = math.sqrt(loss) * float(fitted.targets.scale)
    return metrics
