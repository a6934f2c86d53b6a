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


def successive_halving(
    encoded: Mapping[str, Tensor],
    Y: Tensor,
    targets: Targets,
    candidates: Sequence[Candidate],
    *,
    validation: tuple[Mapping[str, Tensor], Tensor] | None = None,
    seed: int = 0,
    clock: Callable[[], float] | None = None,
) -> Iterator[CandidateRun]:
    """Yield every run as it ends; ``winner`` reads the result off all of them.

    ``encoded``: X (n, d) by encoding; Y raw, as ``iterate`` takes it. ``validation``: rows by encoding and raw targets.

    Raises:
        InvalidConfig: there is no row left to judge on.
        NonFiniteValues, NotPositiveDefinite, NotConverged: every candidate broke down; the error is that of the first.
    """
    if len(Y) < 2 and validation is None:
        raise InvalidConfig(f"choosing between ways to fit needs at least 2 rows, not {len(Y)}")
    order = _shuffled(Y, targets, seed)
    running = [(candidate, _every_second(candidate.config.ridges)) for candidate in candidates]
    for rung, (share, updates, share_kept) in enumerate(RUNGS):
        rows, judges = _parted(order, share)
        running = running[: max(math.ceil(share_kept * len(candidates)), 1)]
        runs: list[CandidateRun] = []
        errors: list[EngineError] = []
        for candidate, ridges in running:
            X = encoded[candidate.encoding]
            judging = (X[judges], Y[judges])
            if validation is not None:
                held_out, held_out_Y = validation
                judging = (torch.cat([judging[0], held_out[candidate.encoding]]), torch.cat([judging[1], held_out_Y]))
            began = clock() if clock is not None else None
            try:
                run = _run(candidate, ridges, rung, X[rows], Y[rows], targets, judging, updates)
            except (NonFiniteValues, *UNSOLVED) as error:
                errors.append(error)
                run = CandidateRun(candidate, rung, len(rows), (math.inf,), 0, math.nan, failed=str(error))
            if clock is not None and began is not None:
                run = replace(run, seconds=clock() - began)
            runs.append(run)
            yield run
        if len(errors) == len(running):
            raise errors[0]
        runs.sort(key=lambda run: run.loss)
        running = [(run.candidate, _around(run)) for run in runs]


def number_of_runs(candidates: int) -> int:
    """Return how many runs so many candidates have together."""
    return sum(max(math.ceil(share_kept * candidates), 1) for _, _, share_kept in RUNGS)


def winner(runs: Sequence[CandidateRun]) -> CandidateRun:
    """Return the best run of the last rung, the first of equals."""
    last = max(run.rung for run in runs)
    return min((run for run in runs if run.rung == last), key=lambda run: run.loss)


def _run(
    candidate: Candidate,
    ridges: tuple[float, ...],
    rung: int,
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    judging: tuple[Tensor, Tensor],
    updates: int,
) -> CandidateRun:
    config = replace(
        candidate.config, ridges=ridges, iterations=min(updates, candidate.config.iterations), patience=None
    )
    best = None
    for state in iterate(X, Y, targets, config, validation=judging):
        best = state.best
    if best is None or best.loss is None:
        raise InvalidConfig("a recursion with rows to judge it reaches a loss")
    return CandidateRun(candidate, rung, len(X), best.loss, best.iteration, best.ridge)


def _every_second(ridges: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(ridges)[::2])


def _around(run: CandidateRun) -> tuple[float, ...]:
    """Return the ridge that did best and its neighbours on the path."""
    path = sorted(run.candidate.config.ridges)
    if run.ridge not in path:
        return run.candidate.config.ridges
    place = path.index(run.ridge)
    return tuple(path[max(place - 1, 0) : place + 2])


def _shuffled(Y: Tensor, targets: Targets, seed: int) -> Tensor:
    """Return the rows in an order of which every beginning holds every class in about its share."""
    generator = torch.Generator().manual_seed(seed)
    n = len(Y)
    order = torch.randperm(n, generator=generator)
    if not isinstance(targets, ClassTargets):
        return order.to(Y.device)
    codes = Y.cpu()[order]
    places = torch.empty(n, dtype=torch.float64)
    for code in range(targets.n_classes):
        members = torch.nonzero(codes == code).squeeze(1)
        # spread over [0, 1): the first row of a class comes early, however rare the class
        places[members] = torch.arange(len(members), dtype=torch.float64) / max(len(members), 1)
    return order[torch.argsort(places, stable=True)].to(Y.device)


def _parted(order: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the rows that train a rung and those that judge it."""
    n = len(order)
    training = min(max(int(share * n), min(MIN_ROWS, (4 * n) // 5), 1), MAX_ROWS)
    return order[:training], order[training : training + JUDGING_ROWS]
