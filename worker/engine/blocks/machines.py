"""Fit one kernel machine at the common M: of a block's rows, or of a leaf's, to what the blocks leave over."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.engine.blocks.learn import solve_rows
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.recursion import verified
from worker.engine.targets import Coding, Targets


@dataclass(frozen=True)
class Machine:
    """A kernel machine, its ridge, its loss on rows left out, and the share of others' answers that go with its own.

    ``loss``: as ``Targets.loss`` gives it, or of a machine beside others the mean squared error of standardised outputs
    or of class scores, their answers included.
    """

    model: FittedModel
    ridge: float
    loss: tuple[float, ...]
    share: float = 0.0


@dataclass(frozen=True)
class BesideOthers:
    """Targets and what others answer to the rows, ``base`` (n, c), as 2c columns that are fitted at once.

    A machine that fits Y − s · base misses of a row left out e − s · e', where e and e' are what is missed of Y and of
    base; so the best share s in [0, 1] is known without another solve, for every ridge.
    """

    targets: Targets
    base: Tensor

    @property
    def n_outputs(self) -> int:
        """Columns of Y and of base, 2c."""
        return 2 * self.targets.n_outputs

    def encode(self, Y: Tensor) -> Tensor:
        """Return both, (n, 2c) float64."""
        return torch.cat([self.targets.encode(Y), self.base], 1)

    def metrics(self, F: Tensor, Y: Tensor) -> dict[str, float]:
        """Return the best share."""
        missed, of_base = torch.chunk(self.encode(Y) - F.double(), 2, 1)
        size = float(of_base.square().sum())
        best = float((missed * of_base).sum()) / size if size > 0 else 0.0
        return {"share": min(max(best, 0.0), 1.0)}

    def loss(self, F: Tensor, Y: Tensor) -> tuple[float, ...]:
        """Return the mean squared error with the best share."""
        missed, of_base = torch.chunk(self.encode(Y) - F.double(), 2, 1)
        return (float((missed - self.metrics(F, Y)["share"] * of_base).square().mean()),)


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
    others answer to these rows, which they have not seen; the fit is of what the best share of it leaves over, see
    ``BesideOthers``. ``seed``: as of ``solve_rows``.

    Raises:
        NonFiniteValues, NotPositiveDefinite: as of ``solve_rows``.
        Inconsistent: rounding has eaten the solution.
    """
    own: Coding = targets if base is None else BesideOthers(targets, base)
    problem, solved = solve_rows(X, Y, own, config, M, seed)
    solved = verified(X, Y, own, problem.config, solved)
    share = 0.0
    if base is not None:
        share = solved.metrics["leave_one_out_share"]
        of_targets, of_base = torch.chunk(solved.alpha, 2, 1)
        solved = replace(solved, alpha=of_targets - share * of_base)
    model = FittedModel.from_iterate(X, solved, config, targets)
    return Machine(model, solved.ridge, solved.loss or (), share)


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
