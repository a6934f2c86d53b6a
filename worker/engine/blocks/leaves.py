"""Fit the rows of one leaf at the common M."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.blocks.learn import solve_rows
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.recursion import verified
from worker.engine.targets import Targets


@dataclass(frozen=True)
class Leaf:
    """The kernel machine of one leaf, its ridge, and its loss on rows left out as ``Targets.loss`` gives it."""

    model: FittedModel
    ridge: float
    loss: tuple[float, ...]


def fit_leaf(X: Tensor, Y: Tensor, targets: Targets, config: FitConfig, M: Tensor, seed: int = 0) -> Leaf:
    """Return the fit of the rows X (n, d), raw Y, that train a leaf, at the common M; ridge by rows left out.

    ``targets``: of all rows, the same for all leaves, so that their answers can be blended. ``seed``: as of
    ``solve_rows``.

    Raises:
        NonFiniteValues, NotPositiveDefinite: as of ``solve_rows``.
        Inconsistent: rounding has eaten the solution.
    """
    problem, solved = solve_rows(X, Y, targets, config, M, seed)
    solved = verified(X, Y, targets, problem.config, solved)
    return Leaf(FittedModel.from_iterate(X, solved, config, targets), solved.ridge, solved.loss or ())


def at_most(rows: Tensor, limit: int, seed: int) -> Tensor:
    """Return the indices ``rows`` (n,), or ``limit`` of them drawn by ``seed``, in their order.

    For leaves that cannot be cut: their rows are all but one point.
    """
    if len(rows) <= limit:
        return rows
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:limit]
    return rows[drawn.sort().values.to(rows.device)]
