"""The kernel machine written down as its formulas say, without regard to cost: an oracle for the engine."""

import torch
from torch import Tensor

from worker.engine.kernels import Kernel


def kernel_value(x: Tensor, z: Tensor, M: Tensor, kernel: Kernel, L: float) -> Tensor:
    """One entry of the kernel matrix, differentiable in x away from z."""
    full = torch.diag(M) if M.ndim == 1 else M
    if not kernel.radial:
        t = x @ full @ z
        return t**2 if kernel.name == "quadratic" else torch.exp(t / L**2)
    squared = (x - z) @ full @ (x - z)
    if kernel.name == "gaussian":
        return torch.exp(-squared / (2 * L**2))
    # a row's distance to itself has no gradient, and counts for none
    r = torch.sqrt(squared) if bool(squared > 0) else squared * 0
    return torch.exp(-((r / L) ** kernel.power)) if bool(r > 0) else torch.ones_like(squared)


def predict(x: Tensor, X: Tensor, M: Tensor, alpha: Tensor, kernel: Kernel, L: float) -> Tensor:
    """f(x), (c,)."""
    return torch.stack([kernel_value(x, z, M, kernel, L) for z in X]) @ alpha


def jacobians(X: Tensor, M: Tensor, alpha: Tensor, kernel: Kernel, L: float) -> Tensor:
    """J_f at every training row by automatic differentiation, (n, c, d)."""
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda x: predict(x, X, M, alpha, kernel, L), row) for row in X]
    )
