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
    return nearest(model, model.points.products(X), X, k)


def nearest(model: FittedModel, products: Tensor, X: Tensor, k: int) -> Neighbours:
    """Return ``neighbours``, of what the kernel is a function of between X and the training rows, which is lost."""
    # the kernel's values are written over what they are made of
    if model.kernel.radial:
        apart = products.clone()
    else:
        apart = KernelPoints(model.X, model.M.to(model.X.dtype), kernel_of("gaussian")).products(X)
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
    return slopes(model, model.points, model.points.products(X), X, of)


def slopes(model: FittedModel, points: KernelPoints, products: Tensor, X: Tensor, of: Sequence[int]) -> Tensor:
    """Return ``gradients``, of what the kernel is a function of between X and the training rows, which is lost.

    ``points``: the training rows as the kernel sees them, behind which there may be more rows and columns.
    """
    n, d = model.X.shape
    profile = model.kernel.profile_(products, model.bandwidth)
    there, M = points.X[:n, :d], points.M[(slice(d),) * points.M.ndim]
    here = X if points.origin is None else X - points.origin[:d]
    found = []
    for index in of:
        weights = profile * model.alpha[:, index]
        G = outputs(weights, there)
        if model.kernel.radial:
            G = weights.sum(1, keepdim=True) * here - G
        found.append(times_metric(G, M).double())
    return torch.stack(found, 2)
