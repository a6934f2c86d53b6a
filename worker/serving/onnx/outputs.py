"""From encoded rows to predictions: ``worker.engine.model`` as an ONNX graph."""

import numpy as np

from worker.contracts.base import Label
from worker.engine.model import FittedModel
from worker.engine.targets import UNIFORM_SHARE, ClassTargets, RegressionTargets
from worker.serving.onnx.graph import BOOL, DOUBLE, INT64, STRING, TYPES, Graph
from worker.serving.onnx.kernel import MachineValues, as_trained, in_float64, kernel_outputs, numbers
from worker.tables.encoding.targets import integer_labels

PREDICT, PROBABILITIES = "predict", "probabilities"


def tensor_numbers(fitted: FittedModel) -> int:
    """Return how many numbers the graph holds of the machine."""
    return fitted.X.numel() + fitted.alpha.numel() + fitted.M.numel() + len(fitted.X)


def raw_outputs(graph: Graph, fitted: FittedModel, X: str) -> str:
    """Return standardised outputs or class scores, (rows, c) float64, of encoded rows (rows, d)."""
    exact = in_float64(fitted)
    points, formula = exact.points, exact.kernel.formula(exact.bandwidth)
    values = MachineValues(
        graph.constant(numbers(points.X.T)),
        None if points.origin is None else graph.constant(numbers(points.origin)[None, :]),
        None if points.squares is None else graph.constant(numbers(points.squares)),
        graph.constant(numbers(points.M)),
        graph.constant(numbers(exact.alpha)),
        None if formula is None else graph.constant(np.array([formula.factor])),
    )
    return kernel_outputs(graph, exact, points, values, as_trained(graph, fitted, X))


def regression(graph: Graph, targets: RegressionTargets, F: str) -> dict[str, str]:
    """Declare the output in original units, (rows,) or (rows, c). Return the output names by role."""
    scaled = graph.add("Mul", F, graph.constant(numbers(targets.scale)))
    outputs = graph.add("Add", scaled, graph.constant(numbers(targets.mean)))
    if targets.n_outputs > 1:
        return {PREDICT: graph.output(PREDICT, outputs, DOUBLE, [targets.n_outputs])}
    return {PREDICT: graph.output(PREDICT, _flat(graph, outputs), DOUBLE, [])}


def classification(graph: Graph, targets: ClassTargets, classes: list[Label], F: str) -> dict[str, str]:
    """Declare the label, (rows,), and the class probabilities, (rows, c). Return the output names by role."""
    c = len(classes)
    if targets.frequencies is not None:
        F = graph.add("Add", F, graph.constant(numbers(targets.frequencies)[None, :]))
    projected = _on_simplex(graph, F, c)
    share = graph.add("Mul", projected, graph.constant(np.array([1 - UNIFORM_SHARE])))
    probabilities = graph.add("Add", share, graph.constant(np.array([UNIFORM_SHARE / c])))
    labels, kind = _labels(classes)
    best = graph.add("ArgMax", probabilities, axis=1, keepdims=0)
    label = graph.add("Gather", graph.constant(labels), best)
    return {
        PREDICT: graph.output(PREDICT, label, kind, []),
        PROBABILITIES: graph.output(PROBABILITIES, probabilities, DOUBLE, [c]),
    }


def _on_simplex(graph: Graph, F: str, c: int) -> str:
    """Return the nearest point of the simplex: see ``targets.on_simplex``."""
    F = graph.add("Sub", F, graph.add("ReduceMax", F, graph.constant(np.array([1])), keepdims=1))
    ordered, _ = graph.largest(F, c)
    summed = graph.add("CumSum", ordered, graph.constant(np.array(1)))
    excess = graph.add("Sub", summed, graph.constant(np.ones(1)))
    mean = graph.add("Div", excess, graph.constant(np.arange(1.0, c + 1)[None, :]))
    inside = graph.cast(graph.add("Greater", graph.add("Sub", ordered, mean), graph.constant(np.zeros(1))), INT64)
    last = graph.add("Sub", graph.sum_of_rows(inside), graph.constant(np.array([1])))
    threshold = graph.add("GatherElements", mean, last, axis=1)
    return graph.add("Max", graph.add("Sub", F, threshold), graph.constant(np.zeros(1)))


def _flat(graph: Graph, column: str) -> str:
    return graph.add("Reshape", column, graph.constant(np.array([-1])))


def _labels(classes: list[Label]) -> tuple[np.ndarray, int]:
    kinds = {type(label) for label in classes}
    if kinds == {str}:
        return np.array(classes), STRING
    if kinds == {bool}:
        return np.array(classes), BOOL
    if kinds == {int}:
        labels = integer_labels(classes)
        return labels, TYPES[labels.dtype.name]
    return np.array(classes, dtype=np.float64), TYPES["float64"]
