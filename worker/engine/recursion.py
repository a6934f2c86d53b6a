"""The recursion: solve, validate, re-learn M from what was fitted, again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from worker.engine.config import FitConfig
from worker.engine.errors import Inconsistent
from worker.engine.problem import UNSOLVED, Iterate, Problem
from worker.engine.targets import Targets
from worker.engine.weights import RowWeights


@dataclass(frozen=True)
class FitState:
    """Where a fit stands after a solve. ``stopped`` says why no iteration follows, None when one does.

    ``skipped_ridges``: ridges that were tried at this iteration and whose system could not be solved.
    """

    current: Iterate
    best: Iterate
    since_best: int
    stopped: Literal["iterations", "patience", "no_signal"] | None = None
    skipped_ridges: tuple[float, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.stopped is not None


def iterate(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    state: FitState | None = None,
    M: Tensor | None = None,
    choose: bool = True,
    clock: Callable[[], float] | None = None,
    weights: RowWeights | None = None,
) -> Iterator[FitState]:
    """Yield a state after every solve; the caller may stop there and go on from it later, with the same result.

    X (n, d). Y raw: outputs (n, c), or class codes (n,). ``validation``: rows and raw targets that choose the best
    iterate (and an automatic ridge); without any, the error of rows left out does, where the solver has a factor to
    tell it from, and with solver 'cg' the last iterate is the best. ``choose``: false where the last is wanted. ``M``:
    where to start instead of the identity. ``clock``: seconds, for ``timings``. ``weights``: whole numbers give the
    result of so many copies of each row; alpha is of all copies of a row together.

    A system that float32 cannot solve is solved in float64, and so are all that follow, where precision is 'auto'.

    Raises:
        NonFiniteValues: X or the targets hold NaN or infinities, or the recursion produced them.
        NotPositiveDefinite: a ridge system could not be factored.
        NotConverged: conjugate gradients did not reach the tolerance.
    """
    if state is not None and state.current.alpha.dtype == torch.float64:
        config = config.precise
    problem = Problem(X, Y, targets, config, validation, clock, choose=choose, weights=weights)
    if state is None:
        iteration, metric, best, since_best = 0, problem.first_metric(M), None, 0
    else:
        if state.finished:
            return
        following = problem.next_metric(state.current)
        if following is None:
            return
        iteration, metric, best, since_best = state.current.iteration + 1, following, state.best, state.since_best
    while True:
        problem.start_timing()
        try:
            solved = problem.solve(metric, iteration)
        except UNSOLVED:
            if not config.may_be_precise:
                raise
            solved = None
        if solved is None:
            # not in the handler: there the error still holds the memory of the solve that failed
            config = config.precise
            problem = Problem(X, Y, targets, config, validation, clock, choose=choose, weights=weights)
            problem.start_timing()
            solved = problem.solve(metric, iteration)
        current, skipped = solved
        since_best += 1
        if best is None or current.loss is None or best.loss is None or current.loss < best.loss:
            best, since_best = current, 0
        stopped: Literal["iterations", "patience", "no_signal"] | None = None
        following = None
        if iteration >= config.iterations or config.update == "none":
            stopped = "iterations"
        elif config.patience is not None and since_best >= config.patience:
            stopped = "patience"
        else:
            following = problem.next_metric(current)
            stopped = "no_signal" if following is None else None
        yield FitState(current, best, since_best, stopped, skipped, problem.timings())
        if following is None:
            return
        iteration, metric = iteration + 1, following


def refit(
    X: Tensor, Y: Tensor, targets: Targets, config: FitConfig, chosen: Iterate, weights: RowWeights | None = None
) -> Iterate:
    """Return ``chosen`` solved again on other rows, its M, ridge and bandwidth kept; the loss stays that of ``chosen``.

    X (n, d) and Y raw, as ``iterate`` takes them: as a rule the rows that trained and those that chose, together.

    Raises:
        NonFiniteValues: X or the targets hold NaN or infinities.
        NotPositiveDefinite: the ridge system could not be factored.
        NotConverged: conjugate gradients did not reach the tolerance.
        Inconsistent: the solution does not answer its own rows as it was solved to.
    """
    bandwidth: float | Literal["median"] = "median" if chosen.bandwidth is None else chosen.bandwidth
    precision = str(chosen.alpha.dtype).removeprefix("torch.")
    closed = replace(config, ridge=chosen.ridge, raise_ridge=False, bandwidth=bandwidth, precision=precision)
    problem = Problem(X, Y, targets, closed, None, None, weights=weights)
    solved, _ = problem.solve(chosen.M, chosen.iteration)
    problem.check(solved)
    return replace(solved, loss=chosen.loss, metrics=chosen.metrics)


def verified(
    X: Tensor, Y: Tensor, targets: Targets, config: FitConfig, chosen: Iterate, weights: RowWeights | None = None
) -> Iterate:
    """Return an iterate of a fit on these rows that answers them as it was solved to; arguments as of ``iterate``.

    It is ``chosen``, or, where rounding has eaten that one and precision is 'auto', the same solved in float64.

    Raises:
        Inconsistent: rounding has eaten the solution.
        NonFiniteValues, NotPositiveDefinite, NotConverged: as of ``refit``.
    """
    same_precision = replace(config, precision=str(chosen.alpha.dtype).removeprefix("torch."))
    try:
        Problem(X, Y, targets, same_precision, None, None, weights=weights).check(chosen)
    except Inconsistent:
        if same_precision.dtype == torch.float64 or not config.may_be_precise:
            raise
    else:
        return chosen
    precise = replace(chosen, alpha=chosen.alpha.double())
    return refit(X, Y, targets, config.precise, precise, weights)
