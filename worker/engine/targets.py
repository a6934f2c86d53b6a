"""Between what users predict and what the ridge system solves for: standardised outputs or one-hot classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

UNIFORM_SHARE = 1e-3
"""Share of the uniform distribution in every probability, so that none is exactly zero."""


@dataclass(frozen=True)
class RegressionTargets:
    """Outputs with mean 0 and deviation 1 inside; ``mean`` and ``scale`` are (c,) float64, in original units."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, Y: Tensor) -> "RegressionTargets":
        """Return the coding of training outputs Y, (n, c). A constant output keeps scale 1."""
        Y = Y.double()
        scale = Y.std(0, correction=0)
        return cls(Y.mean(0), torch.where(scale > 0, scale, torch.ones_like(scale)))

    @property
    def n_outputs(self) -> int:
        return len(self.mean)

    def to(self, device: torch.device) -> "RegressionTargets":
        """Return the same coding on ``device``."""
        return RegressionTargets(self.mean.to(device), self.scale.to(device))

    def encode(self, Y: Tensor) -> Tensor:
        """Original units (n, c) → standardised (n, c)."""
        return (Y.double() - self.mean) / self.scale

    def decode(self, F: Tensor) -> Tensor:
        """Standardised (m, c) → original units (m, c), float64."""
        return F.double() * self.scale + self.mean

    def metrics(self, F: Tensor, Y: Tensor) -> dict[str, float]:
        """Return rmse and r2 in original units, averaged over outputs. r2 of a constant truth is 0, or 1 if met."""
        misses = (self.decode(F) - Y.double()).square().mean(0)
        spread = (Y.double() - Y.double().mean(0)).square().mean(0)
        r2 = torch.where(spread > 0, 1 - misses / spread.clamp(min=1e-300), (misses == 0).double())
        return {"rmse": float(misses.sqrt().mean()), "r2": float(r2.mean())}

    def loss(self, F: Tensor, Y: Tensor) -> tuple[float, ...]:
        """Return what chooses between models, lower is better: the mean squared error of standardised outputs."""
        return (float((F.double() - self.encode(Y)).square().mean()),)


@dataclass(frozen=True)
class ClassTargets:
    """``n_classes`` one-hot columns inside; codes (n,) int64 outside."""

    n_classes: int

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    def to(self, device: torch.device) -> "ClassTargets":
        """Return itself: there is nothing to move."""
        return self

    def encode(self, codes: Tensor) -> Tensor:
        """Codes (n,) → one-hot (n, c), float64."""
        return torch.nn.functional.one_hot(codes, self.n_classes).double()

    def decode(self, F: Tensor) -> Tensor:
        """Scores (m, c) → codes (m,)."""
        return F.argmax(1)

    def probabilities(self, F: Tensor) -> Tensor:
        """Scores (m, c) → probabilities (m, c), float64.

        They are the nearest point of the simplex, mixed with a little of the uniform distribution.
        """
        return on_simplex(F.double()) * (1 - UNIFORM_SHARE) + UNIFORM_SHARE / self.n_classes

    def metrics(self, F: Tensor, codes: Tensor) -> dict[str, float]:
        """Return accuracy and the Brier score of the scores."""
        return {
            "accuracy": float((self.decode(F) == codes).double().mean()),
            "brier": float((F.double() - self.encode(codes)).square().sum(1).mean()),
        }

    def loss(self, F: Tensor, codes: Tensor) -> tuple[float, ...]:
        """Return what chooses between models, lower is better: the Brier score.

        It uses how sure every row is, where the error moves only when a row changes sides, and so chooses better.
        """
        return (self.metrics(F, codes)["brier"],)


Targets = RegressionTargets | ClassTargets


def on_simplex(F: Tensor) -> Tensor:
    """Return the Euclidean projection of each row on the probability simplex (Held, Wolfe, Crowder 1974)."""
    ordered = F.sort(1, descending=True).values
    excess = ordered.cumsum(1) - 1
    ranks = torch.arange(1, F.shape[1] + 1, dtype=F.dtype, device=F.device)
    support = (ordered - excess / ranks > 0).sum(1, keepdim=True)
    threshold = excess.gather(1, support - 1) / support
    return (F - threshold).clamp(min=0)
