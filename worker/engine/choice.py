"""Which of several ways to fit does best on rows that did not train: successive halving on a part of the rows.

Each candidate runs a short recursion on a part of the rows, with every second ridge of its path, and is judged on the
other rows, those to validate on included. The better third runs again on half of the rows, with the best ridge and its
neighbours. A ridge is a ratio of noise to signal and does not grow with the rows, so what wins on a part is what the
whole is then fitted with, once.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.engine.config import FitConfig
from worker.engine.errors import EngineError, InvalidConfig, NonFiniteValues
from worker.engine.problem import UNSOLVED
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, Targets
from worker.engine.weights import RowWeights

RUNGS = ((1 / 3, 2, 1.0), (1 / 2, 3, 1 / 3))
"""Of every rung: the share of rows that train, the updates of M, the share of candidates that run it."""
MIN_ROWS = 500
"""A rung trains on so many rows or on 4/5 of them, where its share is fewer."""
MAX_ROWS = 8000
"""A rung trains on no more rows: what wins does not change much beyond, and every candidate factors K several times."""
JUDGING_ROWS = 1000
"""At most so many of the rows left over judge a rung, beside those to validate on."""


@dataclass(frozen=True)
class Candidate:
    """A way to fit: which encoding of the rows, and the config."""

    encoding: str
    config: FitConfig


@dataclass(frozen=True)
class CandidateRun:
    """One candidate's run in a rung: rows it trained on, its least loss, and the iteration and ridge that reached it.

    ``failed`` says why it could not run to an end; its loss is then infinite.
    """

    candidate: Candidate
    rung: int
    rows: int
    loss: tuple[float, ...]
    iteration: int
    ridge: float
    seconds: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class PlannedRun:
    """A candidate is to run in a rung with these ridges."""

    candidate: Candidate
    rung: int
    ridges: tuple[float, ...]


def successive_halving(
    encoded: Mapping[str, Tensor],
    Y: Tensor,
    targets: Targets,
    candidates: Sequence[Candidate],
    *,
    validation: tuple[Mapping[str, Tensor], Tensor] | None = None,
    seed: int = 0,
    clock: Callable[[], float] | None = None,
    weights: RowWeights | None = None,
) -> Iterator[CandidateRun]:
    """Yield every run as it ends; ``winner`` reads the result off all of them.

    ``encoded``: X (n, d) by encoding; Y raw, as ``iterate`` takes it. ``validation``: rows by encoding and raw targets.
    ``weights``: as of ``iterate``.

    Raises:
        InvalidConfig: there is no row left to judge on.
        EngineError: every candidate broke down; the message is that of the first.
    """
    drawn = drawn_rows(Y, targets, seed)
    own = None if weights is None else replace(weights, training=weights.training[drawn])
    ended: list[CandidateRun] = []
    while planned := next_rung(candidates, ended):
        for run in planned:
            encoding = run.candidate.encoding
            judging = None if validation is None else (validation[0][encoding], validation[1])
            X = encoded[encoding][drawn]
            ended.append(carry_out(run, X, Y[drawn], targets, len(Y), validation=judging, clock=clock, weights=own))
            yield ended[-1]


def next_rung(candidates: Sequence[Candidate], ended: Sequence[CandidateRun]) -> list[PlannedRun]:
    """Return the runs that follow when ``ended`` are all that were planned so far, in their order; none at the end.

    Raises:
        EngineError: every candidate of the last rung broke down; the message is that of the first.
    """
    if not ended:
        return [PlannedRun(candidate, 0, _every_second(candidate.config.ridges)) for candidate in candidates]
    rung = ended[-1].rung + 1
    last = [run for run in ended if run.rung == rung - 1]
    if all(run.failed is not None for run in last):
        raise EngineError(last[0].failed)
    if rung == len(RUNGS):
        return []
    best = sorted(last, key=lambda run: run.loss)[: _running(rung, len(candidates))]
    return [PlannedRun(run.candidate, rung, _around(run)) for run in best]


def carry_out(
    run: PlannedRun,
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    n: int,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    clock: Callable[[], float] | None = None,
    weights: RowWeights | None = None,
) -> CandidateRun:
    """Return what a run comes to. X (k, d) and Y, with ``weights``: the rows that ``drawn_rows`` gives of ``n``.

    Raises:
        InvalidConfig: there is no row left to judge on.
    """
    training = _training_rows(n, run.rung)
    judging = X[training : training + JUDGING_ROWS], Y[training : training + JUDGING_ROWS]
    if validation is not None:
        judging = torch.cat([judging[0], validation[0]]), torch.cat([judging[1], validation[1]])
    if not len(judging[1]):
        raise InvalidConfig(f"choosing between ways to fit needs at least 2 rows, not {n}")
    config = replace(
        run.candidate.config,
        ridges=run.ridges,
        iterations=min(RUNGS[run.rung][1], run.candidate.config.iterations),
        patience=None,
    )
    began = clock() if clock is not None else 0.0
    loss: tuple[float, ...] = (math.inf,)
    iteration, ridge, failed = 0, math.nan, None
    try:
        own = None if weights is None else _weights_of_run(weights, training, len(judging[1]))
        for state in iterate(X[:training], Y[:training], targets, config, validation=judging, weights=own):
            if state.best.loss is not None:
                loss, iteration, ridge = state.best.loss, state.best.iteration, state.best.ridge
    except (NonFiniteValues, *UNSOLVED) as error:
        loss, iteration, ridge, failed = (math.inf,), 0, math.nan, str(error)
    seconds = None if clock is None else clock() - began
    return CandidateRun(run.candidate, run.rung, training, loss, iteration, ridge, seconds, failed)


def _weights_of_run(weights: RowWeights, training: int, judging: int) -> RowWeights:
    """Return the weights of the rows that train, and of those that judge: drawn ones, then those to validate on."""
    drawn = weights.training[training : training + JUDGING_ROWS]
    validation = drawn.new_ones(judging - len(drawn)) if weights.validation is None else weights.validation
    return RowWeights(weights.training[:training], torch.cat([drawn, validation]))


def drawn_rows(Y: Tensor, targets: Targets, seed: int) -> Tensor:
    """Return which rows short runs take, in an order of which every beginning holds every class in about its share."""
    n = len(Y)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=generator)
    if isinstance(targets, ClassTargets):
        codes = Y.cpu()[order]
        places = torch.empty(n, dtype=torch.float64)
        for code in range(targets.n_classes):
            members = torch.nonzero(codes == code).squeeze(1)
            # spread over [0, 1): the first row of a class comes early, however rare the class
            places[members] = torch.arange(len(members), dtype=torch.float64) / max(len(members), 1)
        order = order[torch.argsort(places, stable=True)]
    most = max(_training_rows(n, rung) for rung in range(len(RUNGS))) + JUDGING_ROWS
    return order[:most].to(Y.device)


def number_of_runs(candidates: int) -> int:
    """Return how many runs so many candidates have together."""
    return sum(_running(rung, candidates) for rung in range(len(RUNGS)))


def winner(runs: Sequence[CandidateRun]) -> CandidateRun:
    """Return the best run of the last rung, the first of equals."""
    last = max(run.rung for run in runs)
    return min((run for run in runs if run.rung == last), key=lambda run: run.loss)


def _every_second(ridges: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(ridges)[::2])


def _around(run: CandidateRun) -> tuple[float, ...]:
    """Return the ridge that did best and its neighbours on the path."""
    path = sorted(run.candidate.config.ridges)
    if run.ridge not in path:
        return run.candidate.config.ridges
    place = path.index(run.ridge)
    return tuple(path[max(place - 1, 0) : place + 2])


def _running(rung: int, candidates: int) -> int:
    """Return how many of so many candidates run in a rung."""
    return max(math.ceil(RUNGS[rung][2] * candidates), 1)


def _training_rows(n: int, rung: int) -> int:
    """Return how many of n rows train in a rung."""
    return min(max(int(RUNGS[rung][0] * n), min(MIN_ROWS, (4 * n) // 5), 1), MAX_ROWS)
