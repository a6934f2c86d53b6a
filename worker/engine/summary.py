"""What a feature matrix says: importance, spectrum, directions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues (d,) from the largest down; column i of ``directions`` (d, d) belongs to eigenvalue i."""

    eigenvalues: Tensor
    directions: Tensor


def spectrum(M: Tensor) -> Spectrum:
    """Return the eigenvectors of M, (d, d) or diagonal (d,). The largest weight of a direction is positive."""
    full = torch.diag(M) if M.ndim == 1 else M
    values, vectors = torch.linalg.eigh(full.double())
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return Spectrum(values, vectors * torch.where(largest < 0, -1.0, 1.0))


def eigenvalues(M: Tensor) -> Tensor:
    """Return the eigenvalues of M, (d, d) or diagonal (d,), from the largest down: a quarter of a spectrum's work."""
    values = M.double().sort().values if M.ndim == 1 else torch.linalg.eigvalsh(M.double())
    return values.flip(0).clamp(min=0)


def effective_rank(eigenvalues: Tensor) -> float:
    """Return exp of the entropy of the normalised eigenvalues (Roy and Vetterli 2007)."""
    shares = eigenvalues.double().clamp(min=0)
    shares = shares / shares.sum()
    shares = shares[shares > 0]
    return float(torch.exp(-(shares * shares.log()).sum()))


def importance(M: Tensor) -> Tensor:
    """Return each feature's share of the trace of M, (d,); sums to 1."""
    diagonal = (M if M.ndim == 1 else M.diagonal()).double().clamp(min=0)
    return diagonal / diagonal.sum()


def cosine(A: Tensor, B: Tensor) -> float:
    """Return the cosine between two matrices of one shape, as vectors."""
    # products of huge entries would overflow
    A, B = A / A.abs().max(), B / B.abs().max()
    return float((A * B).sum() / (A.norm() * B.norm()))
