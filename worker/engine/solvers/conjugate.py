"""Ridge systems (K + λI) alpha = Y by preconditioned conjugate gradients, K never whole unless it is small enough.

The preconditioner is a partial Cholesky factor of K with randomly chosen pivots, taken in blocks (Chen, Epperly, Tropp,
Webber, arXiv 2207.06503). One operator serves all ridges.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues, NotConverged
from worker.engine.kernels import KernelPoints, outputs

PIVOTS = 128
"""Pivots of the partial Cholesky factor are taken so many at a time."""
NEGLIGIBLE = 1e-5
"""Directions of a block of pivots with less than this share of the largest are left out: rounding made them."""


@dataclass(frozen=True)
class Solution:
    """alpha (n, c); what is left of Y, (n, c), its largest length relative to a column of Y, and steps taken."""

    alpha: Tensor
    residual: Tensor
    relative_residual: float
    steps: int


class KernelOperator:
    """K of the points with themselves, as a product. Tiles of its upper triangle are kept while they fit."""

    def __init__(self, points: KernelPoints, bandwidth: float | None, kept_bytes: int | None) -> None:
        self.points = points
        self.bandwidth = bandwidth
        self._left = kept_bytes
        self._kept: dict[tuple[int, int], Tensor] = {}

    def __matmul__(self, V: Tensor) -> Tensor:
        """Return K V, (n, c), by way of each pair once."""
        product = torch.zeros_like(V)
        for rows, columns in self.points.tiles():
            tile = self._tile(rows, columns)
            product[rows] += outputs(tile, V[columns])
            # the square on the diagonal has its pairs on both sides already
            twice = rows.stop - rows.start if rows.start == columns.start else 0
            product[columns.start + twice : columns.stop] += outputs(tile[:, twice:].T, V[rows])
        return product

    def diagonal(self) -> Tensor:
        """Return the diagonal of K, (n,)."""
        X = self.points.X
        if self.points.kernel.radial:
            return X.new_ones(len(X))
        products = torch.stack(
            [self.points.own_products(slice(i, i + 1), slice(i, i + 1))[0, 0] for i in range(len(X))]
        )
        return self.points.kernel.value_(products, self.bandwidth)

    def columns(self, chosen: Tensor) -> Tensor:
        """Return the columns (indices) of K, (n, len(chosen))."""
        origin = self.points.origin
        rows = self.points.X[chosen] if origin is None else self.points.X[chosen] + origin
        return self.points.kernel.value_(self.points.products(rows), self.bandwidth).T

    def _tile(self, rows: slice, columns: slice) -> Tensor:
        place = (rows.start, columns.start)
        tile = self._kept.get(place)
        if tile is None:
            tile = self.points.kernel.value_(self.points.own_products(rows, columns), self.bandwidth)
            bytes_ = tile.numel() * tile.element_size()
            if self._left is None or bytes_ <= self._left:
                self._kept[place] = tile
                self._left = None if self._left is None else self._left - bytes_
        return tile


class Preconditioner:
    """(F Fᵀ + λI)⁻¹ with F (n, rank) a partial Cholesky factor of K; one F serves all ridges."""

    def __init__(self, K: KernelOperator, rank: int, generator: torch.Generator) -> None:
        n = len(K.points)
        self._F = K.points.X.new_empty((n, min(rank, n)))
        left = K.diagonal()
        largest = float(left.max())
        rank_so_far = 0
        while rank_so_far < self._F.shape[1]:
            weights = left.clamp(min=0).double().cpu()
            block = min(PIVOTS, self._F.shape[1] - rank_so_far, int((weights > NEGLIGIBLE * largest).sum()))
            if block == 0:
                break
            chosen = torch.multinomial(weights, block, replacement=False, generator=generator).to(left.device)
            F = self._F[:, :rank_so_far]
            G = K.columns(chosen).sub_(F @ F[chosen].T)
            values, vectors = torch.linalg.eigh(G[chosen].double())
            significant = values > NEGLIGIBLE * values.max().clamp(min=NEGLIGIBLE * largest)
            if not bool(significant.any()):
                break
            step = (vectors[:, significant] / values[significant].sqrt()).to(G.dtype)
            added = self._F[:, rank_so_far : rank_so_far + step.shape[1]]
            torch.mm(G, step, out=added)
            left -= added.square().sum(1)
            left[chosen] = 0.0
            rank_so_far += step.shape[1]
        self._F = self._F[:, :rank_so_far]
        self._gram = (self._F.T @ self._F).double()

    def at(self, ridge: float) -> "Inverse":
        """Return the inverse for one ridge above 0."""
        system = self._gram.clone()
        system.diagonal().add_(ridge)
        return Inverse(self._F, torch.linalg.cholesky(system).to(self._F.dtype), ridge)


@dataclass(frozen=True)
class Inverse:
    """(F Fᵀ + λI)⁻¹ by the Woodbury identity; ``factor`` (rank, rank) is that of FᵀF + λI."""

    F: Tensor
    factor: Tensor
    ridge: float

    def __matmul__(self, V: Tensor) -> Tensor:
        inner = torch.cholesky_solve(self.F.T @ V, self.factor)
        return torch.addmm(V, self.F, inner, alpha=-1.0).div_(self.ridge)


def solve(
    K: KernelOperator,
    Y: Tensor,
    ridge: float,
    preconditioner: Preconditioner,
    *,
    tolerance: float,
    max_steps: int,
    start: Tensor | None = None,
) -> Solution:
    """Return alpha with ‖Y − (K + λI) alpha‖ ≤ tolerance ‖Y‖ in every column. ``start`` (n, c): where to begin.

    Raises:
        NotConverged: it took more than ``max_steps`` products with K, or rounding stops it short of the tolerance.
        NonFiniteValues: numbers overflowed.
    """
    inverse = preconditioner.at(ridge)
    alpha = torch.zeros_like(Y) if start is None else start.clone()
    residual = Y.clone() if start is None else Y - (K @ alpha).add_(alpha, alpha=ridge)
    lengths = Y.norm(dim=0).clamp(min=torch.finfo(Y.dtype).tiny)
    step, checked = 0, start is not None
    z = inverse @ residual
    direction, rho = z, (residual * z).sum(0)
    while True:
        reached = float((residual.norm(dim=0) / lengths).max())
        if not reached < float("inf"):
            raise NonFiniteValues("conjugate gradients met infinite values; look for huge inputs, or raise the ridge")
        if reached <= tolerance and (checked or step == 0):
            return Solution(alpha, residual, reached, step)
        if step >= max_steps:
            # by now the running residual has drifted: what is told is the true one
            residual = Y - (K @ alpha).add_(alpha, alpha=ridge)
            reached = float((residual.norm(dim=0) / lengths).max())
            raise NotConverged(
                f"conjugate gradients reached a relative residual of {reached:.2g} after {step} steps with ridge "
                f"{ridge:g}, not {tolerance:g}; raise the ridge or the preconditioner's rank, or use solver 'cholesky'"
            )
        if reached <= tolerance:
            # the running residual drifts from the true one by rounding: what is reported is the true one
            residual = Y - (K @ alpha).add_(alpha, alpha=ridge)
            checked, step = True, step + 1
            z = inverse @ residual
            direction, rho = z, (residual * z).sum(0)
            continue
        checked = False
        product = (K @ direction).add_(direction, alpha=ridge)
        curvature = (direction * product).sum(0)
        # a column that is solved has no direction left
        size = torch.where(curvature > 0, rho / curvature, torch.zeros_like(rho))
        alpha += size * direction
        residual -= size * product
        z = inverse @ residual
        following = (residual * z).sum(0)
        direction = z + torch.where(rho > 0, following / rho, torch.zeros_like(rho)) * direction
        rho = following
        step += 1
