"""Many kernel machines with one M: ``worker.engine.blocks.model`` as an ONNX graph.

A row takes the work of the machines that answer it, as with us: the graph loops over those that answer any row, and
takes of each the rows that it answers.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np

from worker.engine.blocks.model import BlocksModel
from worker.engine.blocks.tree import MAX_LEAVES, NEGLIGIBLE, Tree
from worker.engine.kernels import KernelPoints
from worker.engine.model import FittedModel
from worker.serving.onnx.graph import DOUBLE, INT64, Graph
from worker.serving.onnx.kernel import MachineValues, as_trained, in_float64, kernel_outputs, numbers


def tensor_numbers(model: BlocksModel) -> int:
    """Return how many numbers the graph holds of the model."""
    of_tree = sum(tensor.numel() for tensor in model.tree.to_tensors().values()) + paths(model.tree).size
    # a training row has its columns, alpha and length; a machine its origin, its scale, and where its rows are
    d, c, rows = len(model.variances), model.targets.n_outputs, sum(model.leaves.rows) + sum(model.blocks.rows)
    of_machines = rows * (d + c + 1) + (len(model.leaves) + len(model.blocks)) * (d + 3)
    return model.M.numel() + of_tree + of_machines


def raw_outputs(graph: Graph, model: BlocksModel, X: str) -> str:
    """Return standardised outputs or class scores, (rows, c) float64, of encoded rows (rows, d)."""
    X = as_trained(graph, model.leaves[0], X)
    factors = leaf_weights(graph, model.tree, model.temperature, X)
    count = len(model.blocks)
    if count:
        every = graph.add("Add", graph.zeros(X, count), graph.constant(np.array([model.share / count])))
        factors = graph.add("Concat", factors, every, axis=1)
    return _sum_of_machines(graph, _machines(graph, model), X, factors)


def paths(tree: Tree) -> np.ndarray:
    """Return the factors of each leaf's weight, (longest path, leaves) int64, from the first cut down.

    Of s cuts, k is the factor of the right side of cut k, s + k that of its left side, and 2s is 1.
    """
    cuts = len(tree.thresholds)
    by_node: dict[int, list[int]] = {0 if cuts else -1: []}
    for cut, (left, right) in enumerate(tree.children.tolist()):
        path = by_node.pop(cut)
        by_node[left], by_node[right] = [*path, cuts + cut], [*path, cut]
    longest = max(map(len, by_node.values()))
    found = np.full((longest, tree.leaves), 2 * cuts)
    for node, path in by_node.items():
        found[: len(path), -1 - node] = path
    return found


def leaf_weights(graph: Graph, tree: Tree, temperature: float, X: str) -> str:
    """Return each leaf's weight, (rows, leaves), by the steps of ``tree.weights`` and so with the same bits."""
    if tree.leaves == 1:
        return graph.add("Add", graph.zeros(X, 1), graph.constant(np.ones(1)))
    right = _right_sides(graph, tree, temperature, X)
    one = graph.constant(np.ones(1))
    sides = graph.add("Concat", right, graph.add("Sub", one, right), graph.add("Add", graph.zeros(X, 1), one), axis=1)
    product, *others = (graph.add("Gather", sides, graph.constant(places), axis=1) for places in paths(tree))
    for factor in others:
        product = graph.add("Mul", product, factor)
    kept, chosen = graph.largest(product, min(MAX_LEAVES, tree.leaves))
    small = graph.add("Less", kept, graph.constant(np.array([NEGLIGIBLE])))
    after_first = graph.constant(np.arange(min(MAX_LEAVES, tree.leaves))[None, :] > 0)
    kept = graph.add("Where", graph.add("And", small, after_first), graph.constant(np.zeros(1)), kept)
    columns = [graph.constant(np.array([place])) for place in range(min(MAX_LEAVES, tree.leaves))]
    total, *rest = (graph.add("Gather", kept, column, axis=1) for column in columns)
    for column in rest:
        total = graph.add("Add", total, column)
    shares = graph.add("Div", kept, total)
    weights = graph.add("ScatterElements", graph.zeros(X, tree.leaves), chosen, shares, axis=1)
    return graph.add("Add", weights, _nothing(graph, product))


def _nothing(graph: Graph, value: str) -> str:
    """Return zeros, (rows, 1), and NaN for rows that hold one: they have no leaf, and must not be answered with 0."""
    return graph.add("Mul", graph.sum_of_rows(value), graph.constant(np.zeros(1)))


def _right_sides(graph: Graph, tree: Tree, temperature: float, X: str) -> str:
    """Return the weight of each cut's right side, (rows, cuts)."""
    directions = graph.constant(numbers(tree.directions.T))

    def added(column: str, total: str) -> str:
        values = graph.add("Gather", X, column, axis=1)
        return graph.add("Add", total, graph.add("Mul", values, graph.add("Gather", directions, column, axis=0)))

    # one column after another: a matrix product rounds otherwise, and a row on a cut would have another leaf
    columns = graph.constant(np.array(tree.directions.shape[1]))
    projections = graph.loop(columns, graph.zeros(X, len(tree.thresholds)), added)
    distances = graph.add("Sub", projections, graph.constant(numbers(tree.thresholds)))
    distances = graph.add("Div", distances, graph.constant(numbers(tree.spreads)))
    if temperature == 0:
        return graph.cast(graph.add("Greater", distances, graph.constant(np.zeros(1))), DOUBLE)
    two = graph.constant(np.array([2.0]))
    t = graph.add("Div", distances, graph.constant(np.array([temperature])))
    t = graph.add("Clip", t, graph.constant(np.array(-1.0)), graph.constant(np.array(1.0)))
    t = graph.add("Div", graph.add("Add", t, graph.constant(np.ones(1))), two)
    falling = graph.add("Sub", graph.constant(np.array([3.0])), graph.add("Mul", two, t))
    return graph.add("Mul", graph.add("Mul", t, t), falling)


@dataclass(frozen=True)
class _Machines:
    """All machines: ``values`` hold them one after another, number k in ``starts[k]`` to ``ends[k]``.

    ``exact`` and ``points``: the last one, for what all share.
    """

    exact: FittedModel
    points: KernelPoints
    values: MachineValues
    starts: str
    ends: str


def _machines(graph: Graph, model: BlocksModel) -> _Machines:
    """Add the machines as constants, one after another: of a stored model no more than one need be in memory."""
    ends = np.cumsum([*model.leaves.rows, *model.blocks.rows])
    starts = ends - [*model.leaves.rows, *model.blocks.rows]
    d, rows = len(model.variances), int(ends[-1])
    columns, alpha = np.empty((d, rows)), np.empty((rows, model.targets.n_outputs))
    squares, origins, factors = np.empty(rows), np.empty((len(ends), d)), np.empty(len(ends))
    for number, machine in enumerate(chain(model.leaves, model.blocks)):
        exact, part = in_float64(machine), slice(starts[number], ends[number])
        points, formula = KernelPoints(exact.X, exact.M, exact.kernel), exact.kernel.formula(exact.bandwidth)
        columns[:, part], alpha[part] = numbers(points.X.T), numbers(exact.alpha)
        if points.origin is not None and points.squares is not None:
            origins[number], squares[part] = numbers(points.origin), numbers(points.squares)
        if formula is not None:
            factors[number] = formula.factor
    values = MachineValues(
        graph.constant(columns),
        None if points.origin is None else graph.constant(origins),
        None if points.squares is None else graph.constant(squares),
        graph.constant(numbers(points.M)),
        graph.constant(alpha),
        None if formula is None else graph.constant(factors),
    )
    return _Machines(exact, points, values, graph.constant(starts), graph.constant(ends))


def _sum_of_machines(graph: Graph, machines: _Machines, X: str, factors: str) -> str:
    """Return the sum of what machines answer to X (rows, d), times ``factors`` (rows, machines), (rows, c)."""
    every = machines.values
    flat = graph.constant(np.array([-1]))
    answers = graph.cast(graph.add("Greater", factors, graph.constant(np.zeros(1))), INT64)
    counts = graph.add("ReduceSum", answers, graph.constant(np.array([0])), keepdims=0)
    answering = graph.add("Reshape", graph.add("NonZero", counts), flat)

    def added(turn: str, total: str) -> str:
        number = graph.add("Gather", answering, turn)
        own = graph.add("Gather", factors, number, axis=1)
        of_number = graph.add("Reshape", graph.add("Gather", answers, number, axis=1), flat)
        rows = graph.add("Reshape", graph.add("NonZero", of_number), flat)
        start, end = graph.add("Gather", machines.starts, number), graph.add("Gather", machines.ends, number)

        def part(value: str, axis: int) -> str:
            return graph.add("Slice", value, start, end, graph.constant(np.array([axis])))

        values = MachineValues(
            part(every.columns, 1),
            None if every.origin is None else graph.add("Gather", every.origin, number, axis=0),
            None if every.squares is None else part(every.squares, 0),
            every.metric,
            part(every.alpha, 0),
            None if every.factor is None else graph.add("Gather", every.factor, number),
        )
        asked = graph.add("Gather", X, rows, axis=0)
        outputs = kernel_outputs(graph, machines.exact, machines.points, values, asked)
        outputs = graph.add("Mul", outputs, graph.add("Gather", own, rows, axis=0))
        places = graph.add("Unsqueeze", rows, graph.constant(np.array([1])))
        return graph.add("ScatterND", total, places, outputs, reduction="add")

    zeros = graph.add("Add", graph.zeros(X, machines.exact.targets.n_outputs), _nothing(graph, factors))
    return graph.loop(graph.add("Size", answering), zeros, added)
