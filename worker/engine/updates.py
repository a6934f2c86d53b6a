"""Ways to learn M again from a solution, alpha (n, c) on kernel points.

An update has two steps: the feature statistic of the rows, and the next M that comes of it. The first can be taken of
several blocks of rows and added; the second is for the sum.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from worker.engine import features
from worker.engine.config import FitConfig
from worker.engine.errors import NonFiniteValues
from worker.engine.kernels import KernelPoints


class Update(Protocol):
    """One way. M' is neither rescaled nor checked."""

    def __call__(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None, M: Tensor) -> Tensor:
        """Return the next M, (d, d) or (d,) as M is: both steps, by the shorter way where there is one."""

    def feature(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None) -> Tensor:
        """Return the feature statistic, (d, d) or (d,), in the precision of the points."""

    def metric(self, feature: Tensor, M: Tensor) -> Tensor:
        """Return the next M, in float64, from the feature statistic at M."""


@dataclass(frozen=True)
class Fact:
    """M' = (FACT FACTᵀ)^½, or (F M² Fᵀ)^¼ with F = FACT where ``geometric``."""

    geometric: bool

    def __call__(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None, M: Tensor) -> Tensor:
        if _few_rows(points, M):
            return features.next_from_few_rows(points, alpha, bandwidth, M, geometric=self.geometric)
        return self.metric(self.feature(points, alpha, bandwidth), M)

    def feature(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None) -> Tensor:
        """Return FACT."""
        return features.fact(points, alpha, bandwidth)

    def metric(self, feature: Tensor, M: Tensor) -> Tensor:
        """See ``Update``."""
        return features.next_from_fact(feature, M, geometric=self.geometric)


@dataclass(frozen=True)
class Nfa:
    """M' = AGOP^power, of gradients less their mean where ``centered``; ``weights`` (n,): of the rows."""

    power: float
    centered: bool
    weights: Tensor | None = None

    def __call__(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None, M: Tensor) -> Tensor:
        if _few_rows(points, M):
            return features.agop_power_of_few_rows(
                points, alpha, bandwidth, self.power, centered=self.centered, weights=self.weights
            )
        return self.metric(self.feature(points, alpha, bandwidth), M)

    def feature(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None) -> Tensor:
        """Return AGOP."""
        return features.agop(points, alpha, bandwidth, centered=self.centered, weights=self.weights)

    def metric(self, feature: Tensor, M: Tensor) -> Tensor:
        """See ``Update``."""
        return features.matrix_power(feature, self.power)


def update_of(config: FitConfig, weights: Tensor | None = None) -> Update:
    """Return the update that a config names, for rows with ``weights`` (n,).

    FACT needs no weights, for alpha has them already. To add one, write its class, name it here and in
    ``config.ALLOWED``.
    """
    if config.update == "nfa":
        return Nfa(1.0 if config.agop_power is None else config.agop_power, config.center_gradients, weights)
    return Fact(config.geometric_average)


def scaled(following: Tensor, scale: str) -> Tensor | None:
    """Return M' (d, d) or (d,) rescaled as ``features.rescaled`` does, None when it says nothing of any feature.

    Raises:
        NonFiniteValues: it holds numbers beyond all numbers.
    """
    if not bool((following != 0).any()):
        return None
    following = features.rescaled(following, scale)
    trace = following.sum() if following.ndim == 1 else following.trace()
    if not (bool(torch.isfinite(following).all()) and bool(torch.isfinite(trace))):
        raise NonFiniteValues("the feature matrix grew beyond all numbers; use scale 'trace' or a larger ridge")
    return following


def _few_rows(points: KernelPoints, M: Tensor) -> bool:
    """Return whether there are fewer rows than columns: M' then has a root of low rank."""
    return M.ndim == 2 and len(points) < len(M)


def first_metric(d: int, config: FitConfig, device: torch.device | None = None) -> Tensor:
    """Return M of iteration 0, the identity (d, d) or its diagonal (d,), float64."""
    ones = torch.ones(d, dtype=torch.float64, device=device)
    return ones if config.feature_matrix == "diagonal" else torch.diag(ones)
