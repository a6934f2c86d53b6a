"""Between what users predict and what the ridge system solves for: standardised outputs or centred one-hot classes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues
from worker.engine.weights import weighted_mean

SMALLEST = torch.finfo(torch.float64).tiny
"""Smaller numbers have fewer digits."""

UNIFORM_SHARE = 1e-3
"""Share of the uniform distribution in every probability, so that none is exactly zero."""


@dataclass(frozen=True)
class RegressionTargets:
    """Outputs with mean 0 and deviation 1 inside; ``mean`` and ``scale`` are (c,) float64, in original units."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, Y: Tensor, weights: Tensor | None = None) -> "RegressionTargets":
        """Return the coding of training outputs Y, (n, c), with ``weights`` (n,). A constant output keeps scale 1.

        Raises:
            NonFiniteValues: the outputs are too large to be squared, or differ by too little to be told apart.
        """
        Y = Y.double()
        if not bool(torch.isfinite(Y.square().sum(0)).all()):
            raise NonFiniteValues(
                f"the targets cannot be learned from: the sum of their squares is beyond all numbers (the largest is "
                f"{float(Y.abs().max()):g}); give them in a larger unit, or leave out rows with such targets"
            )
        # a power of two changes no digit, and squares of tiny numbers stay above 0
        unit = Y.new_tensor([2.0 ** (math.frexp(largest)[1] - 1) for largest in Y.abs().amax(0).tolist()])
        mean = weighted_mean(Y / unit, weights)
        if weights is None:
            scale = (Y / unit).std(0, correction=0) * unit
        else:
            scale = weighted_mean((Y / unit - mean).square(), weights).sqrt() * unit
        constant = Y.amax(0) == Y.amin(0)
        if not bool((constant | (scale >= SMALLEST)).all()):
            raise NonFiniteValues(
                f"the targets cannot be learned from: they differ by less than {SMALLEST:g}, the smallest number with "
                "all its digits; give them in a smaller unit"
            )
        return cls(mean * unit, torch.where(constant, torch.ones_like(scale), scale))

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

    def metrics(self, F: Tensor, Y: Tensor, weights: Tensor | None = None) -> dict[str, float]:
        """Return rmse and r2 in original units, averaged over outputs. r2 of a constant truth is 0, or 1 if met.

        ``weights`` (m,): of the rows.

        Raises:
            NonFiniteValues: the answers are so far off that their squares are beyond all numbers.
        """
        # squares of standardised numbers: in original units they could overflow, or vanish
        truth = self.encode(Y)
        misses = weighted_mean((F.double() - truth).square(), weights)
        spread = weighted_mean((truth - weighted_mean(truth, weights)).square(), weights)
        r2 = torch.where(spread > 0, 1 - misses / spread.clamp(min=1e-300), (misses == 0).double())
        found = {"rmse": float((misses.sqrt() * self.scale).mean()), "r2": float(r2.mean())}
        if not all(map(math.isfinite, found.values())):
            raise NonFiniteValues(
                "the answers are so far from the targets that their errors are beyond all numbers; look for huge "
                "inputs or targets"
            )
        return found

    def loss(self, F: Tensor, Y: Tensor, weights: Tensor | None = None) -> tuple[float, ...]:
        """Return what chooses between models, lower is better: the mean squared error of standardised outputs."""
        misses = (F.double() - self.encode(Y)).square()
        return (float(misses.mean() if weights is None else weighted_mean(misses, weights).mean()),)


@dataclass(frozen=True)
class ClassTargets:
    """One column a class inside; codes (n,) int64 outside.

    ``frequencies`` (c,) float64: each class's share of the training rows, which is taken from its column and added to
    its score again, so that the answer far from all training rows is how frequent each class is. None in models of
    format 1: their columns hold 0 and 1, and far rows tend to the uniform distribution.
    """

    n_classes: int
    frequencies: Tensor | None = None

    @classmethod
    def fit(cls, codes: Tensor, n_classes: int, weights: Tensor | None = None) -> "ClassTargets":
        """Return the coding of training codes (n,) with ``weights`` (n,)."""
        counts = torch.bincount(codes, weights, minlength=n_classes).double()
        return cls(n_classes, counts / (len(codes) if weights is None else weights.sum()))

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    def to(self, device: torch.device) -> "ClassTargets":
        """Return the same coding on ``device``."""
        return self if self.frequencies is None else ClassTargets(self.n_classes, self.frequencies.to(device))

    def encode(self, codes: Tensor) -> Tensor:
        """Codes (n,) → one-hot (n, c) less the classes' frequencies, float64."""
        columns = torch.nn.functional.one_hot(codes, self.n_classes).double()
        return columns if self.frequencies is None else columns - self.frequencies

    def decode(self, F: Tensor) -> Tensor:
        """Scores (m, c) → codes (m,): the most probable class."""
        return self.scores(F).argmax(1)

    def probabilities(self, F: Tensor) -> Tensor:
        """Scores (m, c) → probabilities (m, c), float64.

        They are the nearest point of the simplex, mixed with a little of the uniform distribution.
        """
        return on_simplex(self.scores(F)) * (1 - UNIFORM_SHARE) + UNIFORM_SHARE / self.n_classes

    def metrics(self, F: Tensor, codes: Tensor, weights: Tensor | None = None) -> dict[str, float]:
        """Return accuracy and the Brier score of the probabilities. ``weights`` (m,): of the rows.

        Of two classes it is the mean squared error of the probability of the second one, the positive class; of more it
        is the sum of the squared errors over all classes (Brier 1950), which for two would be twice as large.
        """
        probabilities = self.probabilities(F)
        misses = (probabilities - torch.nn.functional.one_hot(codes, self.n_classes)).square()
        return {
            "accuracy": float(weighted_mean((self.decode(F) == codes).double(), weights)),
            "brier": float(weighted_mean(misses[:, 1] if self.n_classes == 2 else misses.sum(1), weights)),
        }

    def loss(self, F: Tensor, codes: Tensor, weights: Tensor | None = None) -> tuple[float, ...]:
        """Return what chooses between models, lower is better: the Brier score.

        It uses how sure every row is, where the error moves only when a row changes sides, and so chooses better.
        """
        return (self.metrics(F, codes, weights)["brier"],)

    def scores(self, F: Tensor) -> Tensor:
        """Scores less the frequencies (m, c) → scores (m, c), float64: ``probabilities`` projects them."""
        return F.double() if self.frequencies is None else F.double() + self.frequencies


Targets = RegressionTargets | ClassTargets


def targets_to_tensors(targets: Targets) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return named tensors and JSON-able metadata from which ``targets_from_tensors`` makes the same targets."""
    if isinstance(targets, RegressionTargets):
        return {"target_mean": targets.mean, "target_scale": targets.scale}, {}
    tensors = {} if targets.frequencies is None else {"class_frequencies": targets.frequencies}
    return tensors, {"n_classes": targets.n_classes}


def targets_from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, centred: bool) -> Targets:
    """Return the targets that ``targets_to_tensors`` took apart; other entries are ignored.

    ``centred``: class frequencies are among the tensors. KeyError: a tensor is missing.
    """
    if "n_classes" not in metadata:
        return RegressionTargets(tensors["target_mean"], tensors["target_scale"])
    return ClassTargets(metadata["n_classes"], tensors["class_frequencies"] if centred else None)


def on_simplex(F: Tensor) -> Tensor:
    """Return the Euclidean projection of each row on the probability simplex (Held, Wolfe, Crowder 1974).

    A row whose largest score is NaN or infinite comes out as NaN.
    """
    # moved along (1, …, 1) a row has the same projection; beside huge scores the 1 below would be rounded away
    F = F - F.amax(1, keepdim=True)
    ordered = F.sort(1, descending=True).values
    excess = ordered.cumsum(1) - 1
    ranks = torch.arange(1, F.shape[1] + 1, dtype=F.dtype, device=F.device)
    # the largest score is always of the support, but where it is NaN
    support = (ordered - excess / ranks > 0).sum(1, keepdim=True).clamp(min=1)
    threshold = excess.gather(1, support - 1) / support
    return (F - threshold).clamp(min=0)
