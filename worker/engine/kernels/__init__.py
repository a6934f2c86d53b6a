"""Kernels under a feature matrix M, by name. To add one, write its class and list it in ``KERNELS``."""

from worker.engine.kernels.bandwidth import median_bandwidth
from worker.engine.kernels.base import Exponential, Kernel
from worker.engine.kernels.inner_product import ExponentialProduct, Quadratic
from worker.engine.kernels.points import KernelPoints, outputs, part, times_metric
from worker.engine.kernels.radial import Gaussian, Generalized, Laplace

KERNELS: dict[str, type[Kernel]] = {
    kind.name: kind for kind in (Laplace, Gaussian, Generalized, Quadratic, ExponentialProduct)
}

__all__ = [
    "KERNELS",
    "Exponential",
    "Kernel",
    "KernelPoints",
    "kernel_of",
    "median_bandwidth",
    "outputs",
    "part",
    "times_metric",
]


def kernel_of(name: str, exponent: float | None = None) -> Kernel:
    """Return a kernel by its name. ``exponent`` is for kernels that have one."""
    return KERNELS[name](exponent)
