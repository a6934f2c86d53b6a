"""Fit one kernel machine at the common M: of a block's rows, or of a leaf's, to what the blocks leave over."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.engine.blocks.learn import solve_rows
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.recursion import verified
from worker.engine.targets import RegressionTargets, Targets


@dataclass(frozen=True)
class Machine:
    """A kernel machine, its ridge, and its loss on rows left out.

    ``loss``: as ``Targets.loss`` gives it, or of a machine that was fitted to what others leave over the mean squared
    error of standardised outputs or of class scores, together with theirs.
    """

    model: FittedModel
    ridge: float
    loss: tuple[float, ...]


def fit_machine(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    M: Tensor,
    seed: int = 0,
    *,
    base: Tensor | None = None,
) -> Machine:
    """Return the fit of the rows X (n, d), raw Y, of a leaf or a block, at the common M; ridge by rows left out.

    ``targets``: of all rows, the same for all machines, so that their answers can be added. ``base`` (n, c): what
    others answer to these rows, which they have not seen; the fit is of what that leaves over. ``seed``: as of
    ``solve_rows``.

    Raises:
        NonFiniteValues, NotPositiveDefinite: as of ``solve_rows``.
        Inconsistent: rounding has eaten the solution.
    """
    if base is None:
        own, wanted = targets, Y
    else:
        zeros = torch.zeros(targets.n_outputs, dtype=torch.float64, device=X.device)
        own, wanted = RegressionTargets(zeros, zeros + 1), targets.encode(Y) - base
    problem, solved = solve_rows(X, wanted, own, config, M, seed)
    solved = verified(X, wanted, own, problem.config, solved)
    model = FittedModel.from_iterate(X, solved, config, targets)
    return Machine(model, solved.ridge, solved.loss or ())


def for_residuals(config: FitConfig) -> FitConfig:
    """Return the config of machines that fit what others leave over: that may be noise, which wants a larger ridge."""
    return replace(config, ridges=(*config.ridges, 10 * max(config.ridges))) if config.ridge == "auto" else config


def at_most(rows: Tensor, limit: int, seed: int) -> Tensor:
    """Return the indices ``rows`` (n,), or ``limit`` of them drawn by ``seed``, in their order.

    For leaves that cannot be cut: their rows are all but one point.
    """
    if len(rows) <= limit:
        return rows
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:limit]
    return rows[drawn.sort().values.to(rows.device)]
