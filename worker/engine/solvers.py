"""Ridge systems (K + λI) alpha = Y by Cholesky, and the leave-one-out error in closed form."""

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues, NotPositiveDefinite

RIDGES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
"""What ridge 'auto' tries."""


def cholesky_(K: Tensor, ridge: float) -> Tensor:
    """Factor K + λI over K's own memory and return the lower factor.

    Raises:
        NonFiniteValues: K holds NaN or infinities.
        NotPositiveDefinite: the factorisation broke down; nothing was added to rescue it.
    """
    K.diagonal().add_(ridge)
    info = torch.empty((), dtype=torch.int32, device=K.device)
    # K is symmetric: its transpose is column-major, which lets LAPACK work in place.
    torch.linalg.cholesky_ex(K.T, out=(K.T, info))
    failed = int(info)
    if failed:
        if not bool(torch.isfinite(K.diagonal()).all()):
            raise NonFiniteValues("the kernel matrix holds NaN or infinite values; look for huge or non-finite inputs")
        raise NotPositiveDefinite(
            f"the kernel matrix plus ridge {ridge:g} is not positive definite in {str(K.dtype).removeprefix('torch.')} "
            f"(leading minor {failed}); raise the ridge, use precision 'float64', or remove duplicate rows"
        )
    return K.T


def solve(factor: Tensor, Y: Tensor) -> Tensor:
    """Return alpha, (n, c). Two triangular solves: ``torch.cholesky_solve`` would copy the factor."""
    half = torch.linalg.solve_triangular(factor, Y, upper=False)
    alpha: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return alpha


def leave_one_out_residuals(factor: Tensor, alpha: Tensor) -> Tensor:
    """Return what each row misses when it is left out, alpha_i / (G⁻¹)_ii with G = K + λI, (n, c)."""
    inverse_diagonal = torch.cholesky_inverse(factor).diagonal()
    return alpha / inverse_diagonal.unsqueeze(1)
