"""Ways to learn M again from a solution, alpha (n, c) on kernel points."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from worker.engine import features
from worker.engine.config import FitConfig
from worker.engine.kernels import KernelPoints


class Update(Protocol):
    """One way. M' is neither rescaled nor checked."""

    def __call__(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None, M: Tensor) -> Tensor:
        """Return the next M, (d, d) or (d,) as M is."""


@dataclass(frozen=True)
class Fact:
    """M' = (FACT FACTᵀ)^½, or (F M² Fᵀ)^¼ with F = FACT where ``geometric``."""

    geometric: bool

    def __call__(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None, M: Tensor) -> Tensor:
        if _few_rows(points, M):
            return features.next_from_few_rows(points, alpha, bandwidth, M, geometric=self.geometric)
        return features.next_from_fact(features.fact(points, alpha, bandwidth), M, geometric=self.geometric)


@dataclass(frozen=True)
class Nfa:
    """M' = AGOP^power, of gradients less their mean where ``centered``."""

    power: float
    centered: bool

    def __call__(self, points: KernelPoints, alpha: Tensor, bandwidth: float | None, M: Tensor) -> Tensor:
        if _few_rows(points, M):
            return features.agop_power_of_few_rows(points, alpha, bandwidth, self.power, centered=self.centered)
        return features.matrix_power(features.agop(points, alpha, bandwidth, centered=self.centered), self.power)


def update_of(config: FitConfig) -> Update:
    """Return the update that a config names. To add one, write its class, name it here and in ``config.ALLOWED``."""
    if config.update == "nfa":
        return Nfa(1.0 if config.agop_power is None else config.agop_power, config.center_gradients)
    return Fact(config.geometric_average)


def _few_rows(points: KernelPoints, M: Tensor) -> bool:
    """Return whether there are fewer rows than columns: M' then has a root of low rank."""
    return M.ndim == 2 and len(points) < len(M)
