"""The bandwidth that a kernel takes from its rows."""

import math

from torch import Tensor

from worker.engine.errors import NonFiniteValues
from worker.engine.kernels.base import Kernel
from worker.engine.kernels.points import KernelPoints, times_metric

MIN_BANDWIDTH = 1e-100
"""Powers of smaller ones overflow."""


def median_bandwidth(X: Tensor, M: Tensor, kernel: Kernel, factor: float, rows: Tensor) -> float | None:
    """Return ``factor`` times the median distance under M between the given ``rows`` (indices) of X.

    For the exponential kernel it is ``factor`` times the median of ‖x‖_M, so that k stays finite. None for a kernel
    without a bandwidth.

    Raises:
        NonFiniteValues: the rows are too far apart.
    """
    if not kernel.has_bandwidth:
        return None
    S = X[rows]
    if kernel.radial:
        distances = KernelPoints(S, M, kernel).own_distances()
        typical = float(distances.median()) if distances.numel() else 0.0
    else:
        typical = float((times_metric(S, M) * S).sum(1).clamp(min=0).sqrt().median())
    if not math.isfinite(factor * typical):
        raise NonFiniteValues(
            "the distances between rows are beyond all numbers; look for huge inputs, or use precision 'float64'"
        )
    # Rows that all coincide have no length of their own.
    return max(factor * typical, MIN_BANDWIDTH) if typical > 0 else factor
