"""Ridge systems (K + λI) alpha = Y by Cholesky, and the leave-one-out error in closed form."""

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues, NotPositiveDefinite

RIDGES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
"""What ridge 'auto' tries."""
INVERSE_BLOCK = 512


def cholesky_(K: Tensor, ridge: float) -> Tensor:
    """Factor K + λI over K's own memory and return the lower factor. Only K's upper triangle is read.

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
    """Return alpha, (n, c). Two triangular solves: ``torch.cholesky_solve`` would copy the factor.

    Raises:
        NonFiniteValues: the factor holds NaN or infinities that the factorisation did not report.
    """
    half = torch.linalg.solve_triangular(factor, Y, upper=False)
    alpha: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    if not bool(torch.isfinite(alpha).all()):
        raise NonFiniteValues("the dual coefficients are not finite; look for huge inputs, or raise the ridge")
    return alpha


def leave_one_out_residuals(factor: Tensor, alpha: Tensor) -> Tensor:
    """Return what each row misses when it is left out, alpha_i / (G⁻¹)_ii with G = K + λI, (n, c)."""
    return alpha / inverse_diagonal(factor).unsqueeze(1)


def weighted_leave_one_out_residuals(factor: Tensor, alpha: Tensor, ridge: float, weights: Tensor) -> Tensor:
    """Return what each row misses when one copy of it is left out, or all of a weight up to 1, (n, c).

    ``factor``: of S K S + λI with S the roots of ``weights`` (n,); alpha is of all copies of a row together. The
    inverse of the system of all copies follows from it by the Woodbury identity.
    """
    inverse = inverse_diagonal(factor)
    left = torch.where(weights > 1, (weights - 1) / ridge + inverse, weights * inverse)
    return alpha / left.unsqueeze(1)


def inverse_diagonal(factor: Tensor, block_columns: int = INVERSE_BLOCK) -> Tensor:
    """Return the diagonal of (L Lᵀ)⁻¹, (n,): the squared lengths of the columns of L⁻¹.

    L⁻¹ is computed ``block_columns`` at a time, from the diagonal down: n³/6 multiply-adds and no second n × n matrix,
    where ``torch.cholesky_inverse`` takes twice the work and the matrix.
    """
    n = len(factor)
    blocks = [slice(start, min(start + block_columns, n)) for start in range(0, n, block_columns)]
    inverses = []
    for block in blocks:
        corner = factor[block, block]
        inverses.append(torch.linalg.solve_triangular(corner, torch.eye(len(corner)).to(corner), upper=False))
    diagonal = factor.new_empty(n)
    for index, columns in enumerate(blocks):
        W = factor.new_empty((n - columns.start, columns.stop - columns.start))
        W[: len(inverses[index])] = inverses[index]
        for inverse, rows in zip(inverses[index + 1 :], blocks[index + 1 :], strict=True):
            done = rows.start - columns.start
            W[done : done + len(inverse)] = inverse @ (factor[rows, columns.start : rows.start] @ W[:done]).neg_()
        diagonal[columns] = W.square().sum(0)
    return diagonal
