"""What a feature matrix says: importance, spectrum, directions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues

BLOCK_ROWS = 4096
IDENTITY_TOLERANCE = 1e-6
"""Rounding of a matrix that was stored in float32."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues (d,) from the largest down; column i of ``directions`` (d, leading) belongs to eigenvalue i."""

    eigenvalues: Tensor
    directions: Tensor


def spectrum(M: Tensor, leading: int) -> Spectrum:
    """Return the eigenvalues of M, (d, d) or (d,), and its ``leading`` eigenvectors, their largest weights positive.

    A diagonal M, also one that is stored whole, needs no decomposition: its eigenvectors are the columns themselves.
    """
    diagonal = _diagonal(M)
    if diagonal is not None:
        ordered = diagonal.double().sort(descending=True, stable=True)
        directions = torch.nn.functional.one_hot(ordered.indices[:leading], len(diagonal)).T.double()
        return Spectrum(ordered.values.clamp(min=0), directions)
    values, vectors = torch.linalg.eigh(M.double())
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)[:, :leading]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return Spectrum(values, vectors * torch.where(largest < 0, -1.0, 1.0))


def eigenvalues(M: Tensor) -> Tensor:
    """Return the eigenvalues of M, (d, d) or (d,), from the largest down, (d,)."""
    diagonal = _diagonal(M)
    if diagonal is not None:
        return diagonal.double().sort(descending=True).values.clamp(min=0)
    values: Tensor = torch.linalg.eigvalsh(M.double())
    return values.flip(0).clamp(min=0)


def effective_rank(eigenvalues: Tensor) -> float:
    """Return exp of the entropy of the normalised eigenvalues (Roy and Vetterli 2007)."""
    shares = eigenvalues.double().clamp(min=0)
    shares = shares / shares.sum()
    shares = shares[shares > 0]
    return float(torch.exp(-(shares * shares.log()).sum()))


def variances(X: Tensor, block_rows: int = BLOCK_ROWS, weights: Tensor | None = None) -> Tensor:
    """Return the variance of each column of the rows X (n, d), with ``weights`` (n,), (d,) float64, divided by n."""
    if weights is None:
        mean = X.mean(0, dtype=torch.float64)
        total = torch.zeros_like(mean)
        for block in torch.split(X, block_rows):
            total += (block.double() - mean).square().sum(0)
        return total / len(X)
    shares = weights.double() / weights.double().sum()
    blocks = list(zip(torch.split(X, block_rows), torch.split(shares, block_rows), strict=True))
    middle = sum((share @ block.double() for block, share in blocks), X.new_zeros(X.shape[1], dtype=torch.float64))
    return sum((share @ (block.double() - middle).square() for block, share in blocks), torch.zeros_like(middle))


def checked(variances: Tensor) -> Tensor:
    """Return variances (d,) if all of them are numbers.

    Raises:
        NonFiniteValues: one is not.
    """
    if not bool(torch.isfinite(variances).all()):
        raise NonFiniteValues("columns vary beyond all numbers: give them in a larger unit, or standardize them")
    return variances


class Variances:
    """The variance of each column of rows that come in batches, divided by their number; of one, as ``variances``."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = torch.zeros(())
        self._variances = torch.zeros(())

    def add(self, X: Tensor) -> None:
        """Take a batch of rows (n, d), which may have none."""
        if not len(X):
            return
        mean, own = X.mean(0, dtype=torch.float64), variances(X)
        if not self._count:
            self._count, self._mean, self._variances = len(X), mean, own
            return
        count = self._count + len(X)
        share = len(X) / count
        apart = mean - self._mean
        # Chan, Golub, LeVeque 1979
        self._variances = (1 - share) * self._variances + share * own + share * (1 - share) * apart.square()
        self._mean = self._mean + share * apart
        self._count = count

    def result(self) -> Tensor:
        """Return the variances of all rows so far, (d,) float64."""
        return self._variances


def importance(M: Tensor, variances: Tensor) -> Tensor:
    """Return what each column adds to the mean squared distance between two training rows, as shares that sum to 1.

    ``variances`` (d,): of the encoded training rows. Twice Mⱼⱼ Var(xⱼ) is what column j alone adds. A column of
    categories that are mostly 0 adds little, however many of them there are. All shares are 0 where no column adds
    anything.
    """
    diagonal = (M if M.ndim == 1 else M.diagonal()).double().clamp(min=0) * variances
    return diagonal / diagonal.sum().clamp(min=torch.finfo(torch.float64).tiny)


def leading(M: Tensor, variances: Tensor, count: int) -> list[int]:
    """Return the ``count`` columns with the largest importance, the largest first; all of fewer."""
    shares = importance(M, variances)
    columns: list[int] = shares.topk(min(count, len(shares))).indices.tolist()
    return columns


def is_identity(M: Tensor) -> bool:
    """Return whether M, (d, d) or (d,), is the identity: where every fit begins, before it learns of its columns."""
    diagonal = _diagonal(M)
    return diagonal is not None and bool(((diagonal - 1).abs() <= IDENTITY_TOLERANCE).all())


def cosine(A: Tensor, B: Tensor) -> float:
    """Return the cosine between two matrices of one shape, as vectors."""
    # products of huge entries would overflow
    A, B = A / A.abs().max(), B / B.abs().max()
    return float((A * B).sum() / (A.norm() * B.norm()))


def _diagonal(M: Tensor) -> Tensor | None:
    """Return the diagonal (d,) of a matrix that has nothing beside it, else None."""
    if M.ndim == 1:
        return M
    diagonal = M.diagonal()
    return diagonal if int(torch.count_nonzero(M)) == int(torch.count_nonzero(diagonal)) else None
