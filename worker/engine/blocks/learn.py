"""Learn one M from several blocks of rows: each block is solved at the common M, and their feature statistics add."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.engine.config import FitConfig
from worker.engine.problem import UNSOLVED, Iterate, Problem
from worker.engine.targets import Targets
from worker.engine.updates import scaled, update_of


@dataclass(frozen=True)
class BlockResult:
    """What one block of rows says at the common M.

    ``feature``: FACT, or AGOP for update 'nfa', (d, d) or (d,) float64, neither raised to a power nor rescaled; zeros
    for update 'none'. ``loss``: of the block's fit on validation rows, or else of its rows left out, each answered by
    the fit of all others of the block, as ``Targets.loss`` gives it.
    """

    feature: Tensor
    loss: tuple[float, ...]
    ridge: float
    bandwidth: float | None
    rows: int


def solve_rows(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    M: Tensor,
    seed: int,
    validation: tuple[Tensor, Tensor] | None = None,
    *,
    judge: bool = True,
) -> tuple[Problem, Iterate]:
    """Return the fit of rows X (n, d), raw Y, at M by a factorisation, with the ridge of the least loss.

    The loss is that of ``validation``, rows and raw targets, or else of rows left out; ``judge`` false: of a config
    whose ridge is given, there is none. ``seed``: of the rows between
    which the median bandwidth is taken. A system that float32 cannot solve is solved in float64 where precision is
    'auto'.

    Raises:
        NonFiniteValues: X or the targets hold NaN or infinities, or a loss is not finite.
        NotPositiveDefinite: no ridge's system could be factored.
    """
    own = replace(config, solver="cholesky", seed=seed)
    problem = Problem(X, Y, targets, own, validation, None, judge=judge)
    try:
        return problem, problem.solve(M, 0)[0]
    except UNSOLVED:
        if not own.may_be_precise:
            raise
    # not in the handler: there the error still holds the memory of the solve that failed
    problem = Problem(X, Y, targets, own.precise, validation, None, judge=judge)
    return problem, problem.solve(M, 0)[0]


def block_feature_sum(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    M: Tensor,
    seed: int,
    validation: tuple[Tensor, Tensor] | None = None,
) -> BlockResult:
    """Return what the block of rows X (b, d), raw Y (b, c) or codes (b,), says at M, (d, d) or (d,).

    FACT is a sum over the block's rows, AGOP a mean over them, so blocks should have about the same number of rows.
    ``validation``: rows and raw targets that choose the ridge and tell the loss, instead of rows left out. M has not
    seen them, and without rows left out a solve takes half the time.

    Raises:
        NonFiniteValues, NotPositiveDefinite: as of ``solve_rows``.
    """
    problem, solved = solve_rows(X, Y, targets, config, M, seed, validation)
    feature = torch.zeros_like(M, dtype=torch.float64) if config.update == "none" else problem.feature(solved)
    return BlockResult(feature, solved.loss or (), solved.ridge, solved.bandwidth, len(X))


def next_metric(results: Sequence[BlockResult], M: Tensor, config: FitConfig) -> Tensor | None:
    """Return the next M, (d, d) or (d,) float64, of the mean of the blocks' statistics, added in the given order.

    None when the blocks say nothing of any feature.

    Raises:
        NonFiniteValues: it holds numbers beyond all numbers.
    """
    total = results[0].feature.clone()
    for result in results[1:]:
        total += result.feature
    total /= len(results)
    if not bool((total != 0).any()):
        return None
    return scaled(update_of(config).metric(total, M), config.scale)


def following_metric(
    results: Sequence[BlockResult], M: Tensor, config: FitConfig, iteration: int, since_best: int
) -> Tensor | None:
    """Return M of the next round, None where the rounds end as ``recursion.iterate`` ends.

    That is after the iterations of the config, after its patience, or at an M without a feature. ``since_best``: rounds
    since the one with the least loss.

    Raises:
        NonFiniteValues: as of ``next_metric``.
    """
    last = config.iterations if config.update != "none" else 0
    if iteration >= last or (config.patience is not None and since_best >= config.patience):
        return None
    return next_metric(results, M, config)


def mean_loss(results: Sequence[BlockResult]) -> tuple[float, ...]:
    """Return the loss of a round: the mean of its blocks' losses, what decides first coming first."""
    return tuple(sum(column) / len(results) for column in zip(*(result.loss for result in results), strict=True))


def around_ridges(ridges: Sequence[float], config: FitConfig) -> FitConfig:
    """Return the config of what follows: ridge 'auto' tries the ridges that blocks chose, and one step to either side.

    ``config``: of the first round, with all ridges. The best ridge moves little from one M to the next, and from blocks
    to leaves; every ridge that is tried costs a factorisation.
    """
    if config.ridge != "auto":
        return config
    path = sorted(config.ridges)
    places = [path.index(ridge) for ridge in ridges]
    return replace(config, ridges=tuple(path[max(min(places) - 1, 0) : max(places) + 2]))
