"""Kernels of the inner product t = xᵀMz."""

from torch import Tensor

from worker.engine.kernels.base import Exponential, Kernel, exp_, required


class Quadratic(Kernel):
    """t²."""

    name = "quadratic"
    radial = False
    has_bandwidth = False

    def formula(self, bandwidth: float | None) -> None:
        """See ``Kernel``."""

    def value_(self, P: Tensor, bandwidth: float | None) -> Tensor:
        """See ``Kernel``."""
        return P.square_()

    def profile_(self, P: Tensor, bandwidth: float | None, work: Tensor | None = None) -> Tensor:
        """See ``Kernel``."""
        return P.mul_(2.0)


class ExponentialProduct(Kernel):
    """exp(t/L²)."""

    name = "exponential"
    radial = False

    def formula(self, bandwidth: float | None) -> Exponential:
        """See ``Kernel``."""
        return Exponential(required(bandwidth) ** -2, 1.0)

    def value_(self, P: Tensor, bandwidth: float | None) -> Tensor:
        """See ``Kernel``."""
        return exp_(P, required(bandwidth) ** -2)

    def profile_(self, P: Tensor, bandwidth: float | None, work: Tensor | None = None) -> Tensor:
        """See ``Kernel``."""
        L = required(bandwidth)
        return exp_(P, L**-2).mul_(L**-2)
