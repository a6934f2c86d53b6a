"""From encoded rows to predictions: ``worker.engine.model`` as an ONNX graph."""

from dataclasses import replace

import numpy as np
import torch

from worker.contracts.base import Label
from worker.engine.model import FittedModel
from worker.engine.targets import UNIFORM_SHARE, ClassTargets, RegressionTargets
from worker.serving.onnx.graph import BOOL, DOUBLE, INT64, STRING, TYPES, Graph
from worker.tables.encoding.targets import integer_labels

PREDICT, PROBABILITIES = "predict", "probabilities"


def raw_outputs(graph: Graph, fitted: FittedModel, X: str) -> str:
    """Return standardised outputs or class scores, (rows, c) float64, of encoded rows (rows, d).

    The graph computes in float64 even if the model computes in float32, so it adds no rounding errors of its own.
    """
    kernel, L = fitted.kernel, fitted.bandwidth
    exact = replace(
        fitted,
        X=fitted.X.double(),
        alpha=fitted.alpha.double(),
        # M in the precision of the model
        M=fitted.M.to(fitted.X.dtype).double(),
    )
    if fitted.X.dtype == torch.float32:
        # a training row among the inputs then equals the row in the model
        X = graph.cast(graph.cast(X, TYPES["float32"]), DOUBLE)
    P = _pairs(graph, exact, X)
    formula = kernel.formula(L)
    if formula is None:
        K = graph.add("Mul", P, P)
    else:
        raised = P if formula.power == 1.0 else graph.add("Pow", P, graph.constant(np.array([formula.power])))
        K = graph.add("Exp", graph.add("Mul", raised, graph.constant(np.array([formula.factor]))))
    return graph.add("MatMul", K, graph.constant(_numbers(fitted.alpha)))


def _pairs(graph: Graph, fitted: FittedModel, X: str) -> str:
    """Return squared distances, or inner products, to the training rows, (rows, n): see ``kernels.KernelPoints``."""
    points = fitted.points
    if points.origin is not None:
        X = graph.add("Sub", X, graph.constant(_numbers(points.origin)))
    metric = graph.constant(_numbers(points.M))
    XM = graph.add("Mul", X, metric) if points.M.ndim == 1 else graph.add("MatMul", X, metric)
    products = graph.add("MatMul", XM, graph.constant(_numbers(points.X.T)))
    if points.squares is None:
        return products
    lengths = graph.add(
        "Mul", graph.sum_of_rows(graph.add("Mul", XM, X)), graph.constant(np.array([points.rounding_factor]))
    )
    squares = graph.add("Add", lengths, graph.constant(_numbers(points.squares)[None, :]))
    twice = graph.add("Mul", products, graph.constant(np.array([2.0])))
    return graph.add("Max", graph.add("Sub", squares, twice), graph.constant(np.zeros(1)))


def regression(graph: Graph, targets: RegressionTargets, F: str) -> dict[str, str]:
    """Declare the output in original units, (rows,) or (rows, c). Return the output names by role."""
    scaled = graph.add("Mul", F, graph.constant(_numbers(targets.scale)))
    outputs = graph.add("Add", scaled, graph.constant(_numbers(targets.mean)))
    if targets.n_outputs > 1:
        return {PREDICT: graph.output(PREDICT, outputs, DOUBLE, [targets.n_outputs])}
    return {PREDICT: graph.output(PREDICT, _flat(graph, outputs), DOUBLE, [])}


def classification(graph: Graph, targets: ClassTargets, classes: list[Label], F: str) -> dict[str, str]:
    """Declare the label, (rows,), and the class probabilities, (rows, c). Return the output names by role."""
    c = len(classes)
    if targets.frequencies is not None:
        F = graph.add("Add", F, graph.constant(_numbers(targets.frequencies)[None, :]))
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
    ordered = graph.sorted_rows(F, c)
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


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().double().numpy()
