"""From a spec that leaves options to choice to one that does not: rows encoded each way, then successive halving."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worker.contracts.errors import TooWide
from worker.contracts.resources import HeatSummary
from worker.contracts.specs import FitSpec
from worker.engine.choice import Candidate, CandidateRun, number_of_runs, successive_halving, winner
from worker.engine.config import FitConfig
from worker.training.rows import TrainingRows

SMALL = 1000
"""Up to so many rows precision 'auto' is float64: it costs little, and how rows are batched then changes no answer."""


@dataclass(frozen=True)
class Choice:
    """The spec without choice, its rows, and the runs that decided, none where there was nothing to decide."""

    spec: FitSpec
    rows: TrainingRows
    runs: tuple[CandidateRun, ...]


def choose(
    spec: FitSpec,
    load: Callable[[FitSpec], TrainingRows],
    *,
    device: torch.device | None = None,
    ended: Callable[[CandidateRun, int, int], Any] = lambda run, number, runs: None,
) -> Choice:
    """Return the best of the spec's candidates on held-out rows, with the ridge that it did best with.

    ``load`` reads and encodes the rows as a spec wants them; what is too wide is left out. ``ended`` hears of every
    run: its number from 1, and how many there are.

    Raises:
        EngineError: every candidate broke down.
        TooWide: so is every encoding.
    """
    choice = _chosen(spec, load, device, ended)
    return replace(choice, spec=precise_if_few(choice.spec, len(choice.rows.Y)))


def precise_if_few(spec: FitSpec, rows: int) -> FitSpec:
    """Return the spec, of float64 where it leaves its precision to choice and there are few rows to train on."""
    few = spec.precision == "auto" and rows <= SMALL
    return spec.model_copy(update={"precision": "float64"}) if few else spec


def _chosen(
    spec: FitSpec,
    load: Callable[[FitSpec], TrainingRows],
    device: torch.device | None,
    ended: Callable[[CandidateRun, int, int], Any],
) -> Choice:
    rows: dict[str, TrainingRows] = {}
    candidates: list[tuple[Candidate, FitSpec]] = []
    too_wide: dict[str, TooWide] = {}
    for one in spec.candidates():
        if one.encoding in too_wide:
            continue
        if one.encoding not in rows:
            try:
                loaded = load(one)
            except TooWide as error:
                too_wide[one.encoding] = error
                continue
            if any(other.encoder.names == loaded.encoder.names for other in rows.values()):
                # no column has more than two values: the two encodings are one
                continue
            rows[one.encoding] = loaded
        candidates.append((Candidate(one.encoding, FitConfig(**one.engine_options())), one))
    if not candidates:
        raise next(iter(too_wide.values()))
    first = rows[candidates[0][1].encoding]
    if len(candidates) == 1 or (len(first.Y) < 2 and first.validation is None):
        return Choice(candidates[0][1], first, ())
    total = number_of_runs(len(candidates))
    runs: list[CandidateRun] = []
    for run in successive_halving(
        {encoding: own.X.to(device) for encoding, own in rows.items()},
        first.Y.to(device),
        first.targets.to(device) if device is not None else first.targets,
        [candidate for candidate, _ in candidates],
        validation=_held_out(rows, device),
        seed=spec.seed,
        clock=time.perf_counter,
    ):
        runs.append(run)
        ended(run, len(runs), total)
    best = winner(runs)
    closed = next(one for candidate, one in candidates if candidate == best.candidate)
    if closed.ridge == "auto":
        closed = closed.model_copy(update={"ridge": best.ridge})
    return Choice(closed, rows[closed.encoding], tuple(runs))


def _held_out(rows: dict[str, TrainingRows], device: torch.device | None) -> tuple[dict[str, Tensor], Tensor] | None:
    found = {encoding: own.validation for encoding, own in rows.items() if own.validation is not None}
    if not found:
        return None
    return {encoding: X.to(device) for encoding, (X, _) in found.items()}, next(iter(found.values()))[1].to(device)


def described(runs: Iterable[CandidateRun]) -> list[HeatSummary]:
    """Return the runs as a model shows them."""
    return [
        HeatSummary(
            encoding=run.candidate.encoding,
            feature_matrix=run.candidate.config.feature_matrix,
            exponent=run.candidate.config.exponent,
            update=run.candidate.config.update,
            lap=run.rung + 1,
            rows=run.rows,
            loss=run.loss[0] if run.failed is None else None,
            iteration=run.iteration,
            ridge=run.ridge if run.failed is None else None,
            seconds=run.seconds,
            failed=run.failed,
        )
        for run in runs
    ]
