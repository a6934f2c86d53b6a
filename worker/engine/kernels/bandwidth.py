"""The bandwidth that a kernel takes from its rows."""

import math

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues
from worker.engine.kernels.base import Kernel
from worker.engine.kernels.points import KernelPoints, times_metric
from worker.engine.weights import weighted_median

MIN_BANDWIDTH = 1e-100
"""Powers of smaller ones overflow."""


def median_bandwidth(
    X: Tensor, M: Tensor, kernel: Kernel, factor: float, rows: Tensor, weights: Tensor | None = None
) -> float | None:
    """Return ``factor`` times the median distance under M between the given ``rows`` (indices) of X.

    For the exponential kernel it is ``factor`` times the median of ‖x‖_M, so that k stays finite. None for a kernel
    without a bandwidth. ``weights`` (n,): of the rows of X.

    Raises:
        NonFiniteValues: the rows are too far apart.
    """
    if not kernel.has_bandwidth:
        return None
    S = X[rows]
    w = None if weights is None else weights[rows].double()
    if kernel.radial:
        points = KernelPoints(S, M, kernel)
        typical = _median(points.own_distances()) if w is None else _median_of_copies(points, w)
    else:
        lengths = (times_metric(S, M) * S).sum(1).clamp(min=0).sqrt()
        typical = float(lengths.median() if w is None else weighted_median(lengths, w))
    if not math.isfinite(factor * typical):
        raise NonFiniteValues(
            "the distances between rows are beyond all numbers; look for huge inputs, or use precision 'float64'"
        )
    # Rows that all coincide have no length of their own.
    return max(factor * typical, MIN_BANDWIDTH) if typical > 0 else factor


def _median(distances: Tensor) -> float:
    return float(distances.median()) if distances.numel() else 0.0


def _median_of_copies(points: KernelPoints, weights: Tensor) -> float:
    """Return the median distance between all copies of the points, of which there are ``weights`` (n,) each."""
    rows, columns = points.own_pairs()
    pairs = weights[rows] * weights[columns]
    # between copies of one row the distance is 0
    within = (weights * (weights - 1) / 2).clamp(min=0).sum().reshape(1)
    distances = torch.cat([points.own_distances(), points.X.new_zeros(1)])
    counts = torch.cat([pairs, within])
    return float(weighted_median(distances, counts)) if float(counts.sum()) > 0 else 0.0
