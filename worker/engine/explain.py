"""Why a fitted model answers a row as it does: training rows near to it, and how the answer changes with the row."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.kernels import KernelPoints, kernel_of, outputs, times_metric
from worker.engine.model import FittedModel


@dataclass(frozen=True)
class Neighbours:
    """Training rows, nearest first: ``rows`` (m, k) int64, their ``distances`` and kernel ``weights`` (m, k) float64.

    A distance is ‖x − z‖_M, also where the kernel is a function of the inner product.
    """

    rows: Tensor
    distances: Tensor
    weights: Tensor


def neighbours(model: FittedModel, X: Tensor, k: int) -> Neighbours:
    """Return the ``k`` training rows (or all, where there are fewer) nearest to each row of X (m, d) under M.

    Of equally near ones the first come first. Memory is m × n.
    """
    X = X.to(model.X.device, model.X.dtype)
    points = model.points
    products = points.products(X)
    # the kernel's values are written over what they are made of
    radial = points if model.kernel.radial else KernelPoints(model.X, points.M, kernel_of("gaussian"))
    apart = products.clone() if radial is points else radial.products(X)
    order = apart.sort(dim=1, stable=True)
    rows = order.indices[:, :k]
    weights = model.kernel.value_(products, model.bandwidth).gather(1, rows)
    return Neighbours(rows, order.values[:, :k].double().sqrt(), weights.double())


def gradients(model: FittedModel, X: Tensor, of: Sequence[int]) -> Tensor:
    """Return the derivatives of some outputs (``of``: their indices) at each row of X (m, d), (m, d, len(of)) float64.

    They are those of ``model.raw``: standardised outputs, or class scores, by encoded column.

    radial: M Σⱼ αⱼ φ′(rⱼ)/rⱼ (x − xⱼ); inner product: M Σⱼ αⱼ k′(tⱼ) xⱼ. A training row that coincides with x has no
    slope of its own there and counts nothing. Memory is m × n.
    """
    X = X.to(model.X.device, model.X.dtype)
    points = model.points
    profile = model.kernel.profile_(points.products(X), model.bandwidth)
    here = X if points.origin is None else X - points.origin
    slopes = []
    for index in of:
        weights = profile * model.alpha[:, index]
        G = outputs(weights, points.X)
        if model.kernel.radial:
            G = weights.sum(1, keepdim=True) * here - G
        slopes.append(times_metric(G, points.M).double())
    return torch.stack(slopes, 2)
