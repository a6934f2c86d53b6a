"""Weights of rows: a row of weight 2 counts as two equal rows."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowWeights:
    """Weights above 0 of the training rows, (n,) float64, and of the rows to validate on, (m,), None for all 1."""

    training: Tensor
    validation: Tensor | None = None

    def to(self, device: torch.device) -> "RowWeights":
        """Return the same weights on ``device``."""
        validation = None if self.validation is None else self.validation.to(device)
        return RowWeights(self.training.to(device), validation)


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of values (n,) or (n, c) over the rows, () or (c,)."""
    if weights is None:
        return values.mean(0)
    weights = weights.to(values.device, values.dtype)
    mean: Tensor = torch.tensordot(weights, values, 1) / weights.sum()
    return mean


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the lower median of values (n,), each of which counts ``weights`` (n,) times, as ``torch.median``."""
    ordered = values.sort()
    totals = weights.double()[ordered.indices].cumsum(0)
    return ordered.values[int((totals < totals[-1] / 2).sum())]
