"""Ridge systems (K + λ) alpha = Y at one M: prepared once, then solved for one ridge after another."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from worker.engine.config import FitConfig
from worker.engine.errors import InvalidConfig
from worker.engine.kernels import KernelPoints
from worker.engine.kernels.points import TILE
from worker.engine.solvers import cholesky, conjugate

KEPT_ROWS = 4000
"""Up to so many rows the kernel matrix is kept from one ridge to the next."""
EXPECTED_STEPS = 40
"""Of conjugate gradients."""


@dataclass(frozen=True)
class Solution:
    """``alpha`` (n, c) of one ridge; of a row with a weight, that of all its copies together.

    ``leave_one_out``: residuals of each row by the fit of all others, (n, c), where they were asked for and the solver
    has a factor to tell them from. ``residual``: what an iterative solver left over of Y, (n, c). ``stats``: what a
    solver tells of its work.
    """

    ridge: float
    alpha: Tensor
    leave_one_out: Tensor | None = None
    residual: Tensor | None = None
    stats: dict[str, float] = field(default_factory=dict)


class PreparedSystem(Protocol):
    """The kernel matrix of some points, ready to be solved with."""

    def solve(self, ridge: float, Y: Tensor) -> Solution:
        """Return the solution for targets Y (n, c).

        Raises:
            NotPositiveDefinite, NotConverged: a larger ridge or more digits may mend it.
            NonFiniteValues: K or the solution holds NaN or infinities.
        """


@dataclass(frozen=True)
class Cost:
    """Floating-point numbers held at the peak, and floating-point operations."""

    numbers: int
    flops: float


class RidgeSolver(Protocol):
    """One way to solve ridge systems."""

    def cost(self, n: int, d: int, c: int, ridges: int) -> Cost:
        """Return what it takes to solve for c outputs on n rows of d columns with so many ridges, one after another."""

    def prepare(self, points: KernelPoints, bandwidth: float | None, seed: int) -> PreparedSystem:
        """Return the system of ``points``; ``seed`` is for what is drawn."""


class Cholesky:
    """By a factorisation in K's own memory, which is taken once: fresh pages at every solve cost as much as K.

    ``several``: more than one ridge will be tried. ``leave_one_out``: residuals of rows left out are wanted.
    ``weights`` (n,): of the rows; the system is then (K + λ W⁻¹) alpha = Y, with W of the weights, solved as
    (S K S + λI) S⁻¹ alpha = S Y with S of their roots. It is that of all copies, where each has its share of alpha.
    """

    def __init__(self, *, several: bool, leave_one_out: bool, weights: Tensor | None = None) -> None:
        self._weights = weights
        self._several = several
        self._leave_one_out = leave_one_out
        self._memory: tuple[Tensor, Tensor | None] | None = None

    def prepare(self, points: KernelPoints, bandwidth: float | None, seed: int) -> PreparedSystem:
        """Return the system; K is built now where there is a second place for it, else at every solve."""
        n = len(points)
        if self._memory is None:
            copy = points.X.new_empty((n, n)) if self._several and n <= KEPT_ROWS else None
            self._memory = points.X.new_empty((n, n)), copy
        memory, copy = self._memory
        if copy is not None:
            self._scaled_(points.triangle(bandwidth, copy))

        def kernel_matrix() -> Tensor:
            # a factorisation destroys its kernel matrix
            return self._scaled_(points.triangle(bandwidth, memory)) if copy is None else memory.copy_(copy)

        return _Factored(kernel_matrix, self._leave_one_out, self._weights)

    def _scaled_(self, K: Tensor) -> Tensor:
        if self._weights is None:
            return K
        roots = self._weights.sqrt()
        return K.mul_(roots).mul_(roots.unsqueeze(1))

    def cost(self, n: int, d: int, c: int, ridges: int) -> Cost:
        """Return what ``RidgeSolver.cost`` does."""
        squares = 2 if self._several and n <= KEPT_ROWS else 1
        inverse = 3 * min(n, cholesky.INVERSE_BLOCK) * n if self._leave_one_out else 0
        square = float(n) * n
        factors = 2 if self._leave_one_out else 1
        return Cost(squares * n * n + 2 * n * c + inverse, ridges * (factors * square * n / 3 + square * (d + 4 * c)))


@dataclass(frozen=True)
class _Factored:
    kernel_matrix: Callable[[], Tensor]
    leave_one_out: bool
    weights: Tensor | None

    def solve(self, ridge: float, Y: Tensor) -> Solution:
        if self.weights is not None:
            return self._solve_weighted(ridge, Y, self.weights)
        factor = cholesky.cholesky_(self.kernel_matrix(), ridge)
        alpha = cholesky.solve(factor, Y)
        left_out = cholesky.leave_one_out_residuals(factor, alpha) if self.leave_one_out else None
        return Solution(ridge, alpha, left_out)

    def _solve_weighted(self, ridge: float, Y: Tensor, weights: Tensor) -> Solution:
        factor = cholesky.cholesky_(self.kernel_matrix(), ridge)
        roots = weights.sqrt().unsqueeze(1)
        alpha = roots * cholesky.solve(factor, roots * Y)
        left_out = None
        if self.leave_one_out:
            left_out = cholesky.weighted_leave_one_out_residuals(factor, alpha, ridge, weights)
        return Solution(ridge, alpha, left_out)


@dataclass(frozen=True)
class ConjugateGradients:
    """By conjugate gradients, all ridges with one preconditioner. Fields: see ``FitConfig``."""

    tolerance: float
    max_steps: int
    rank: int
    kept_bytes: int | None
    itemsize: int

    def cost(self, n: int, d: int, c: int, ridges: int) -> Cost:
        """Return what ``RidgeSolver.cost`` does, if ``EXPECTED_STEPS`` are enough."""
        triangle = n * (n + TILE[0]) // 2
        tiles = triangle if self.kept_bytes is None else min(triangle, self.kept_bytes // self.itemsize)
        rank = min(self.rank, n)
        square = float(n) * n
        solve = EXPECTED_STEPS * 2 * square * c + float(n) * self.rank**2 * 2
        tile = min(n, TILE[0]) * min(n, TILE[1])
        preconditioner = n * rank + 2 * rank * rank + 4 * n * conjugate.PIVOTS
        return Cost(tiles + preconditioner + 8 * n * c + tile, square * d + ridges * solve)

    def prepare(self, points: KernelPoints, bandwidth: float | None, seed: int) -> PreparedSystem:
        """Return the system with its preconditioner, whose columns are drawn by ``seed``."""
        K = conjugate.KernelOperator(points, bandwidth, self.kept_bytes)
        preconditioner = conjugate.Preconditioner(K, self.rank, torch.Generator().manual_seed(seed))
        return _Preconditioned(self, K, preconditioner)


@dataclass(frozen=True)
class _Preconditioned:
    options: ConjugateGradients
    K: conjugate.KernelOperator
    preconditioner: conjugate.Preconditioner

    def solve(self, ridge: float, Y: Tensor) -> Solution:
        tolerance, max_steps = self.options.tolerance, self.options.max_steps
        solved = conjugate.solve(self.K, Y, ridge, self.preconditioner, tolerance=tolerance, max_steps=max_steps)
        stats = {"solve_steps": float(solved.steps), "solve_residual": solved.relative_residual}
        return Solution(ridge, solved.alpha, residual=solved.residual, stats=stats)


def ridge_solver(config: FitConfig, *, leave_one_out: bool, weights: Tensor | None = None) -> RidgeSolver:
    """Return the solver that a config names. To add one, write its class, name it here and in ``config.ALLOWED``.

    Raises:
        InvalidConfig: the solver cannot take ``weights`` (n,) of the rows.
    """
    if config.solver == "cg" and weights is not None:
        raise InvalidConfig("solver 'cg' takes no weights of rows; use solver 'cholesky'")
    if config.solver == "cg":
        return ConjugateGradients(
            config.tolerance, config.max_steps, config.rank, config.kept_bytes, config.dtype.itemsize
        )
    several = config.ridge == "auto" and len(config.ridges) > 1
    return Cholesky(several=several, leave_one_out=leave_one_out, weights=weights)
