"""Fit one kernel machine at the common M: of a block's rows, or of a leaf's, alone and beside the blocks."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.engine.blocks.learn import solve_rows
from worker.engine.config import FitConfig
from worker.engine.errors import NonFiniteValues
from worker.engine.model import FittedModel
from worker.engine.problem import UNSOLVED, Iterate, Problem
from worker.engine.recursion import verified
from worker.engine.solvers.ridge_solvers import Solution
from worker.engine.targets import RegressionTargets, Targets


@dataclass(frozen=True)
class Machine:
    """A kernel machine, its ridge, and its loss on rows left out.

    ``loss``: as ``Targets.loss`` gives it; of a leaf that was fitted with blocks, the mean squared error of
    standardised outputs or of class scores.
    """

    model: FittedModel
    ridge: float
    loss: tuple[float, ...]


@dataclass(frozen=True)
class Leaf:
    """Two machines on a leaf's rows: ``alone`` fits the targets, ``beside`` what the blocks leave over of them.

    Both have the same rows, M and bandwidth, so that a mixture of them is one machine. ``beside`` is None where there
    are no blocks.
    """

    alone: Machine
    beside: Machine | None = None

    @property
    def both(self) -> FittedModel:
        """One machine whose outputs (…, c or 2c) are those of ``alone``, then those of ``beside``."""
        if self.beside is None:
            return self.alone.model
        return replace(self.alone.model, alpha=torch.cat([self.alone.model.alpha, self.beside.model.alpha], 1))

    def mixed(self, share: float) -> Machine:
        """Return (1 − share) alone + share · beside; ridge and loss are those of the larger part."""
        if self.beside is None or share == 0:
            return self.alone
        alpha = (1 - share) * self.alone.model.alpha + share * self.beside.model.alpha
        larger = self.beside if share >= 0.5 else self.alone
        return replace(larger, model=replace(larger.model, alpha=alpha))


def fit_machine(X: Tensor, Y: Tensor, targets: Targets, config: FitConfig, M: Tensor, seed: int = 0) -> Machine:
    """Return the fit of the rows X (n, d), raw Y, at the common M; ridge by rows left out.

    ``targets``: of all rows, the same for all machines, so that their answers can be added. ``seed``: as of
    ``solve_rows``.

    Raises:
        NonFiniteValues, NotPositiveDefinite: as of ``solve_rows``.
        Inconsistent: rounding has eaten the solution.
    """
    problem, solved = solve_rows(X, Y, targets, config, M, seed)
    solved = verified(X, Y, targets, problem.config, solved)
    model = FittedModel.from_iterate(X, solved, config, targets)
    return Machine(model, solved.ridge, solved.loss or ())


def fit_leaf(
    X: Tensor, Y: Tensor, targets: Targets, config: FitConfig, M: Tensor, seed: int = 0, base: Tensor | None = None
) -> Leaf:
    """Return the fits of a leaf's rows X (n, d), raw Y; other arguments and errors as of ``fit_machine``.

    ``base`` (n, c): what the blocks answer to these rows, which they have not seen; None without blocks. Both machines
    come of the same factorisations, and each has the ridge that is best for it: alone and beside are fits of
    encode(Y) − s · base with s = 0 and 1, and all that is linear in the targets need be known of Y and base alone.
    """
    if base is None:
        return Leaf(fit_machine(X, Y, targets, config, M, seed))
    own = replace(for_residuals(config), solver="cholesky", seed=seed)
    encoded = targets.encode(Y)
    both = torch.cat([encoded, base], 1)
    try:
        bandwidth, solutions = _problem(X, both, own).solutions(M)
    except UNSOLVED:
        if not own.may_be_precise:
            raise
        solutions = []
    if not solutions:
        own = own.precise
        bandwidth, solutions = _problem(X, both, own).solutions(M)

    def best(share: float) -> Machine:
        def mixed(columns: Tensor) -> Tensor:
            of_targets, of_base = torch.chunk(columns, 2, 1)
            return of_targets - share * of_base

        solution, loss = _least(solutions, mixed)
        found = Iterate(0, M, mixed(solution.alpha), solution.ridge, bandwidth, (loss,), {})
        left = encoded - share * base
        found = verified(X, left, _plain(left), replace(own, ridge=solution.ridge), found)
        return Machine(FittedModel.from_iterate(X, found, config, targets), solution.ridge, (loss,))

    alone, beside = best(0.0), best(1.0)
    # one that float32 could not solve brings float64 to both
    dtype = torch.promote_types(alone.model.alpha.dtype, beside.model.alpha.dtype)
    X = X.to(dtype).contiguous()
    models = (replace(part.model, X=X, alpha=part.model.alpha.to(dtype)) for part in (alone, beside))
    return Leaf(*(replace(part, model=model) for part, model in zip((alone, beside), models, strict=True)))


def refit_leaf(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    M: Tensor,
    seed: int,
    fitted: Leaf,
    share: float,
    base: Tensor | None = None,
) -> Machine:
    """Return the mixture of a fitted leaf by ``share``, fitted once more on further rows with the ridges that it has.

    ``X`` (n, d), raw Y: all rows; other arguments and errors as of ``fit_leaf``. Ridge and loss stay as they were.
    """
    mixed = fitted.mixed(share)
    encoded = targets.encode(Y)
    parts = [(1 - share, fitted.alone, encoded)]
    if fitted.beside is None or base is None:
        parts = [(1.0, fitted.alone, encoded)]
    else:
        parts.append((share, fitted.beside, encoded - base))
    models: list[tuple[float, FittedModel]] = []
    for weight, machine, left in parts:
        if weight == 0:
            continue
        own = replace(config, ridge=machine.ridge)
        problem, solved = solve_rows(X, left, _plain(left), own, M, seed, judge=False)
        solved = verified(X, left, _plain(left), problem.config, solved)
        models.append((weight, FittedModel.from_iterate(X, solved, config, targets)))
    wide = max((model for _, model in models), key=lambda model: model.alpha.dtype.itemsize)
    alpha = torch.stack([weight * model.alpha.to(wide.alpha.dtype) for weight, model in models]).sum(0)
    return replace(mixed, model=replace(wide, alpha=alpha))


def _problem(X: Tensor, columns: Tensor, config: FitConfig) -> Problem:
    """Return the problem whose targets are some columns (n, k) as they are."""
    return Problem(X, columns, _plain(columns), config, None, None, judge=True)


def _plain(columns: Tensor) -> RegressionTargets:
    zeros = columns.new_zeros(columns.shape[1])
    return RegressionTargets(zeros, zeros + 1)


def _least(solutions: list[Solution], mixed: Callable[[Tensor], Tensor]) -> tuple[Solution, float]:
    """Return the solution with the least mean squared error of rows left out, and that error."""
    losses = [
        math.inf if solution.leave_one_out is None else float(mixed(solution.leave_one_out).double().square().mean())
        for solution in solutions
    ]
    finite = [pair for pair in zip(losses, solutions, strict=True) if math.isfinite(pair[0])]
    if not finite:
        raise NonFiniteValues("the loss on the rows left out is not finite; look for huge inputs or targets in them")
    loss, solution = min(finite, key=lambda pair: pair[0])
    return solution, loss


def for_residuals(config: FitConfig) -> FitConfig:
    """Return the config of machines that fit what others leave over: that may be noise, which wants larger ridges."""
    return replace(config, ridges=(*config.ridges, 10 * max(config.ridges))) if config.ridge == "auto" else config


def at_most(rows: Tensor, limit: int, seed: int) -> Tensor:
    """Return the indices ``rows`` (n,), or ``limit`` of them drawn by ``seed``, in their order.

    For leaves that cannot be cut: their rows are all but one point.
    """
    if len(rows) <= limit:
        return rows
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:limit]
    return rows[drawn.sort().values.to(rows.device)]
