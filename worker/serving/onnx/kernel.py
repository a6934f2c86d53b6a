"""What a kernel machine answers: ``worker.engine.kernels`` as an ONNX graph.

The graph computes in float64 even if the model computes in float32, so it adds no rounding errors of its own.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from worker.engine.kernels import KernelPoints
from worker.engine.model import FittedModel
from worker.serving.onnx.graph import DOUBLE, FLOAT, Graph


@dataclass(frozen=True)
class MachineValues:
    """The values of a graph that hold a machine, all float64.

    ``columns`` (d, n): its training rows, relative to ``origin`` (1, d), if it has one. ``squares`` (n,): their squared
    lengths under M, None for kernels of the inner product. ``metric``: M, (d, d) or (d,). ``alpha`` (n, c). ``factor``
    (1,): of ``Exponential``, None for the square.
    """

    columns: str
    origin: str | None
    squares: str | None
    metric: str
    alpha: str
    factor: str | None


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """Return the same numbers in float64."""
    return tensor.cpu().double().numpy()


def in_float64(fitted: FittedModel) -> FittedModel:
    """Return the same machine in float64, with M in the precision of the model."""
    M = fitted.M.to(fitted.X.dtype).double()
    return replace(fitted, X=fitted.X.double(), alpha=fitted.alpha.double(), M=M)


def as_trained(graph: Graph, fitted: FittedModel, X: str) -> str:
    """Return encoded rows (rows, d) float64 as the machine takes them.

    A training row among the inputs then equals the row in the model.
    """
    return graph.cast(graph.cast(X, FLOAT), DOUBLE) if fitted.X.dtype == torch.float32 else X


def kernel_outputs(graph: Graph, exact: FittedModel, points: KernelPoints, values: MachineValues, X: str) -> str:
    """Return standardised outputs or class scores, (rows, c), of rows X (rows, d).

    ``exact`` and ``points`` have what all machines of a model share: kernel, power, and what rounding leaves.
    """
    P = _pairs(graph, points, values, X)
    formula = exact.kernel.formula(exact.bandwidth)
    if formula is None or values.factor is None:
        K = graph.add("Mul", P, P)
    else:
        raised = P if formula.power == 1.0 else graph.add("Pow", P, graph.constant(np.array([formula.power])))
        K = graph.add("Exp", graph.add("Mul", raised, values.factor))
    return graph.add("MatMul", K, values.alpha)


def _pairs(graph: Graph, points: KernelPoints, values: MachineValues, X: str) -> str:
    """Return squared distances, or inner products, to the training rows, (rows, n): see ``kernels.KernelPoints``."""
    if values.origin is not None:
        X = graph.add("Sub", X, values.origin)
    XM = graph.add("Mul" if points.M.ndim == 1 else "MatMul", X, values.metric)
    products = graph.add("MatMul", XM, values.columns)
    if values.squares is None:
        return products
    lengths = graph.add(
        "Mul", graph.sum_of_rows(graph.add("Mul", XM, X)), graph.constant(np.array([points.rounding_factor]))
    )
    squares = graph.add("Add", lengths, values.squares)
    twice = graph.add("Mul", products, graph.constant(np.array([2.0])))
    return graph.add("Max", graph.add("Sub", squares, twice), graph.constant(np.zeros(1)))
