"""Kernels of the distance, exp(−(r/L)^q)."""

import math

import torch
from torch import Tensor

from worker.engine.kernels.base import LOG2_E, Exponential, Kernel, exp_, required

COINCIDENT = 1e-10
"""Rows closer than this under M are one point: the kernel has no gradient between them."""


class Generalized(Kernel):
    """exp(−(r/L)^q) with q the exponent, in (0, 2]."""

    name = "generalized"
    radial = True
    has_exponent = True

    @property
    def power(self) -> float:
        """The q of exp(−(r/L)^q)."""
        return 1.0 if self.exponent is None else self.exponent

    def length(self, bandwidth: float | None) -> float:
        """Return the L of exp(−(r/L)^q)."""
        return required(bandwidth)

    def formula(self, bandwidth: float | None) -> Exponential:
        """See ``Kernel``."""
        return Exponential(-(self.length(bandwidth) ** -self.power), self.power / 2)

    def value_(self, P: Tensor, bandwidth: float | None) -> Tensor:
        """See ``Kernel``."""
        L = self.length(bandwidth)
        if self.power == 2.0:
            return exp_(P, -(L**-2))
        return exp_(_to_power_(P, self.power), -(L**-self.power))

    def profile_(self, P: Tensor, bandwidth: float | None, work: Tensor | None = None) -> Tensor:
        """See ``Kernel``: φ′(r)/r = −q L^−q r^(q−2) exp(−(r/L)^q)."""
        # at an infinite distance every radial kernel is flat: one pass, where a mask takes several
        torch.threshold_(P, COINCIDENT**2, math.inf)
        L, q = self.length(bandwidth), self.power
        if q == 2.0:
            return exp_(P, -(L**-2)).mul_(-2 * L**-2)
        if q == 1.0:
            decay = torch.mul(P.sqrt_(), -LOG2_E / L, out=work).exp2_()
            return P.reciprocal_().mul_(decay).mul_(-1 / L)
        logarithm = P.log2_()
        raised = torch.mul(logarithm, q / 2, out=work).exp2_()
        return logarithm.mul_(q / 2 - 1).sub_(raised, alpha=LOG2_E * L**-q).exp2_().mul_(-q * L**-q)


class Laplace(Generalized):
    """exp(−r/L)."""

    name = "laplace"
    has_exponent = False


class Gaussian(Generalized):
    """exp(−r²/(2L²))."""

    name = "gaussian"
    has_exponent = False

    @property
    def power(self) -> float:
        """The q of exp(−(r/L)^q)."""
        return 2.0

    def length(self, bandwidth: float | None) -> float:
        """Return the L of exp(−(r/L)^q), √2 of the bandwidth."""
        return required(bandwidth) * math.sqrt(2)


def _to_power_(P: Tensor, q: float) -> Tensor:
    """Turn r² into r^q in place; a square root, or a logarithm and its inverse, are quicker than a power."""
    return P.sqrt_() if q == 1.0 else P.log2_().mul_(q / 2).exp2_()
