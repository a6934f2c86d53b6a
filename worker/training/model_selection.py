"""Resolve the 'auto' options of a spec: encode the rows for each candidate, then run successive halving."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.contracts.errors import TooWide
from worker.contracts.resources import HeatSummary
from worker.contracts.specs import AUTO_CANDIDATES, FitSpec
from worker.engine.choice import Candidate, CandidateRun, number_of_runs, successive_halving, winner
from worker.engine.config import FitConfig
from worker.training.rows import TrainingRows

WITH_STATISTICS: dict[str, Any] = {"feature_matrix": "diagonal", "exponent": 1.3}
"""Options of the candidate with encoding 'statistics', as far as a spec leaves them open."""
MOST_OUTPUTS = 20
"""With more, mean targets of categories are not tried: they have a column for each."""
MAX_FLOAT64_ROWS = 1000
"""Up to this many rows precision 'auto' is float64: it costs little, and batching does not change predictions."""


@dataclass(frozen=True)
class Choice:
    """The resolved spec, its rows, and the runs that selected it, empty if there was nothing to select."""

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
    """Return the best of the spec's candidates on held-out rows, with its best ridge.

    ``load`` reads and encodes the rows for a spec; encodings that are too wide are skipped. ``ended`` is called after
    every run with its number from 1 and the total.

    Raises:
        EngineError: every candidate failed.
        TooWide: every encoding is too wide.
    """
    candidates = Candidates.of(spec, load, statistics=True)
    first, specs = candidates.first, candidates.specs
    if not candidates.open:
        return Choice(float64_if_few(specs[0], len(first.Y)), first, ())
    total = number_of_runs(len(specs))
    runs: list[CandidateRun] = []
    for run in successive_halving(
        {encoding: encoded.X.to(device) for encoding, encoded in candidates.rows.items()},
        first.Y.to(device),
        first.targets.to(device) if device is not None else first.targets,
        [candidate_of(resolved) for resolved in specs],
        validation=_held_out(candidates.rows, device),
        seed=spec.seed,
        clock=time.perf_counter,
        weights=first.weights if first.weights is None or device is None else first.weights.to(device),
    ):
        runs.append(run)
        ended(run, len(runs), total)
    closed = chosen_spec(specs, runs, len(first.Y))
    return Choice(closed, candidates.rows[closed.encoding], tuple(runs))


def float64_if_few(spec: FitSpec, rows: int) -> FitSpec:
    """Return the spec with precision 'auto' replaced by float64 if there are few training rows."""
    few = spec.precision == "auto" and rows <= MAX_FLOAT64_ROWS
    return spec.model_copy(update={"precision": "float64"}) if few else spec


@dataclass(frozen=True)
class Candidates:
    """The ways to fit that a spec leaves open, each as a spec without choice, and the rows of every encoding."""

    specs: list[FitSpec]
    rows: dict[str, TrainingRows]

    @classmethod
    def of(cls, spec: FitSpec, load: Callable[[FitSpec], TrainingRows], *, statistics: bool = False) -> "Candidates":
        """Read the rows for every encoding, without those that are too wide or equal to another.

        ``statistics``: an open encoding may be 'statistics' too, where a column has many categories.

        Raises:
            TooWide: every encoding is too wide.
        """
        rows: dict[str, TrainingRows] = {}
        specs: list[FitSpec] = []
        too_wide: dict[str, TooWide] = {}
        for resolved in spec.candidates():
            if resolved.encoding in too_wide:
                continue
            if resolved.encoding not in rows:
                try:
                    loaded = load(resolved)
                except TooWide as error:
                    too_wide[resolved.encoding] = error
                    continue
                if any(other.encoder.names == loaded.encoder.names for other in rows.values()):
                    # no column has more than two values, so the encodings are equal
                    continue
                rows[resolved.encoding] = loaded
            specs.append(resolved)
        if not specs:
            raise next(iter(too_wide.values()))
        candidates = cls(specs, rows)
        if statistics and spec.encoding == "auto" and candidates._can_have_statistics:
            candidates._add_statistics(load)
        return candidates

    @property
    def _can_have_statistics(self) -> bool:
        """Whether mean targets of categories are tried: a copy of a weighted row would not know its own fold."""
        rows = self.first
        few = rows.targets.n_outputs <= MOST_OUTPUTS
        return self.specs[-1].standardize and few and rows.weights is None and rows.encoder.has_many_categories

    def _add_statistics(self, load: Callable[[FitSpec], TrainingRows]) -> None:
        """Add the candidate nearest to ``WITH_STATISTICS``, or none where that is too wide."""
        wanted = WITH_STATISTICS.items()
        nearest = max(self.specs, key=lambda spec: sum(getattr(spec, name) == option for name, option in wanted))
        added = nearest.model_copy(update={"encoding": "statistics"})
        with suppress(TooWide):
            self.rows["statistics"] = load(added)
            self.specs.append(added)

    @property
    def first(self) -> TrainingRows:
        """The rows of the first candidate."""
        return self.rows[self.specs[0].encoding]

    @property
    def open(self) -> bool:
        """Whether there is something to choose, and a row to judge by."""
        return len(self.specs) > 1 and (len(self.first.Y) >= 2 or self.first.validation is not None)


def candidate_of(spec: FitSpec) -> Candidate:
    """Return the candidate of a spec without choice."""
    return Candidate(spec.encoding, FitConfig(**spec.engine_options()))


def chosen_spec(specs: Iterable[FitSpec], runs: Sequence[CandidateRun], training_rows: int) -> FitSpec:
    """Return the spec of the best of the runs of several candidates, with its best ridge."""
    best = winner(runs)
    spec = next(spec for spec in specs if candidate_of(spec) == best.candidate)
    closed = spec.model_copy(update={"ridge": best.ridge}) if spec.ridge == "auto" else spec
    return float64_if_few(closed, training_rows)


def _held_out(rows: dict[str, TrainingRows], device: torch.device | None) -> tuple[dict[str, Tensor], Tensor] | None:
    pairs = {encoding: encoded.validation for encoding, encoded in rows.items() if encoded.validation is not None}
    if not pairs:
        return None
    return {encoding: X.to(device) for encoding, (X, _) in pairs.items()}, next(iter(pairs.values()))[1].to(device)


def chosen_options(spec: FitSpec) -> str:
    """Return the options that may be left open, with their values, in words."""
    options = spec.model_dump(include=set(AUTO_CANDIDATES), exclude_none=True)
    return ", ".join(f"{name} {options[name]}" for name in AUTO_CANDIDATES if name in options)


def run_summaries(runs: Iterable[CandidateRun]) -> list[HeatSummary]:
    """Return the summaries of the runs for the model."""
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
