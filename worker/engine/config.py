"""How to fit: every option of a recursion, checked when it is made."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from worker.engine.errors import InvalidConfig
from worker.engine.kernels import KERNELS, Kernel, kernel_of
from worker.engine.solvers import cholesky

DEFAULT_EXPONENT = 1.3
"""The exponent of a kernel that has one when none is given."""

MIN_LENGTH = 1e-30
"""Of bandwidths: powers of smaller ones overflow."""

ALLOWED = {
    "update": ("fact", "nfa", "none"),
    "kernel": tuple(KERNELS),
    "feature_matrix": ("full", "diagonal"),
    "scale": ("trace", "max", "none"),
    "solver": ("cholesky", "cg"),
    "precision": ("auto", "float32", "float64"),
}


@dataclass(frozen=True)
class FitConfig:
    """How to fit. ``ridges`` are those that ridge 'auto' chooses from.

    ``raise_ridge``: ``ridge`` is a preference; where its system cannot be solved, the next larger of ``ridges`` takes
    its place, at that iteration alone.

    Of solver 'cg' alone: ``tolerance`` on the residual relative to the targets, ``max_steps`` to reach it, ``rank`` of
    the preconditioner, and ``kept_bytes`` of the kernel matrix that may stay in memory (None: all of it).
    ``tile``: see ``KernelPoints``.

    Raises:
        InvalidConfig: naming the parameter, its value and what would be right.
    """

    update: str = "fact"
    geometric_average: bool = False
    agop_power: float | None = None
    center_gradients: bool = False
    kernel: str = "generalized"
    bandwidth: float | Literal["median"] = "median"
    bandwidth_factor: float = 3.0
    exponent: float | None = None
    ridge: float | Literal["auto"] = "auto"
    ridges: tuple[float, ...] = cholesky.RIDGES
    raise_ridge: bool = False
    iterations: int = 5
    feature_matrix: str = "full"
    scale: str = "trace"
    solver: str = "cholesky"
    tolerance: float = 1e-3
    max_steps: int = 500
    rank: int = 1000
    kept_bytes: int | None = None
    tile: tuple[int, int] | None = None
    precision: str = "auto"
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise InvalidConfig(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        self._check_ranges()
        self._check_togetherness()

    def _check_ranges(self) -> None:
        if self.exponent is not None and not 0 < self.exponent <= 2:
            raise InvalidConfig(f"exponent must lie in (0, 2], not {self.exponent}")
        if self.agop_power is not None and not 0 < self.agop_power < math.inf:
            raise InvalidConfig(f"agop_power must be finite and above 0, not {self.agop_power}")
        if self.bandwidth != "median" and not MIN_LENGTH <= self.bandwidth < math.inf:
            raise InvalidConfig(
                f"bandwidth must be 'median' or finite and at least {MIN_LENGTH:g}, not {self.bandwidth}"
            )
        if not MIN_LENGTH <= self.bandwidth_factor < math.inf:
            raise InvalidConfig(
                f"bandwidth_factor must be finite and at least {MIN_LENGTH:g}, not {self.bandwidth_factor}"
            )
        if self.ridge != "auto" and not 0 <= self.ridge < math.inf:
            raise InvalidConfig(f"ridge must be 'auto' or finite and at least 0, not {self.ridge}")
        if not self.ridges or not all(0 <= ridge < math.inf for ridge in self.ridges):
            raise InvalidConfig(f"ridges must be finite, at least 0 and not none, not {self.ridges}")
        if self.iterations < 0:
            raise InvalidConfig(f"iterations must be at least 0, not {self.iterations}")
        if not 0 < self.tolerance < 1:
            raise InvalidConfig(f"tolerance must lie in (0, 1), not {self.tolerance}")
        for name, value in (("max_steps", self.max_steps), ("rank", self.rank), ("kept_bytes", self.kept_bytes)):
            if value is not None and value < (0 if name == "kept_bytes" else 1):
                raise InvalidConfig(f"{name} must be positive, not {value}")
        if self.patience is not None and self.patience < 1:
            raise InvalidConfig(f"patience must be at least 1, not {self.patience}")

    def _check_togetherness(self) -> None:
        if self.geometric_average and self.update != "fact":
            raise InvalidConfig(f"geometric_average is for update 'fact', not {self.update!r}")
        if self.update != "nfa" and (self.agop_power is not None or self.center_gradients):
            raise InvalidConfig(f"agop_power and center_gradients are for update 'nfa', not {self.update!r}")
        if self.solver == "cg" and self.ridge != "auto" and self.ridge <= 0:
            raise InvalidConfig(f"solver 'cg' needs a ridge above 0, not {self.ridge}; use solver 'cholesky'")
        if self.exponent is not None and not KERNELS[self.kernel].has_exponent:
            able = ", ".join(repr(name) for name, kernel in KERNELS.items() if kernel.has_exponent)
            raise InvalidConfig(f"exponent is for kernel {able}, not {self.kernel!r}")

    @property
    def kernel_function(self) -> Kernel:
        if not KERNELS[self.kernel].has_exponent:
            return kernel_of(self.kernel)
        return kernel_of(self.kernel, DEFAULT_EXPONENT if self.exponent is None else self.exponent)

    @property
    def ridges_to_try(self) -> tuple[float, ...]:
        """Ridges in the order in which they are tried: all that 'auto' chooses from, or one and what may replace it."""
        if self.ridge == "auto":
            return self.ridges
        ridge = float(self.ridge)
        larger = sorted(other for other in self.ridges if other > ridge) if self.raise_ridge else []
        return (ridge, *larger)

    @property
    def precise(self) -> "FitConfig":
        """The same in float64."""
        return replace(self, precision="float64")

    @property
    def may_be_precise(self) -> bool:
        """Whether float32 is what precision 'auto' comes to, so that float64 changes nothing that was asked for."""
        return self.precision == "auto" and self.dtype == torch.float32

    @property
    def dtype(self) -> torch.dtype:
        """float32 for radial kernels with ridge ≥ 0.001 (or chosen), else float64, unless precision says."""
        if self.precision != "auto":
            return torch.float32 if self.precision == "float32" else torch.float64
        well_posed = min(self.ridges if self.ridge == "auto" else (self.ridge,)) >= 1e-3
        return torch.float32 if well_posed and self.kernel_function.radial else torch.float64
