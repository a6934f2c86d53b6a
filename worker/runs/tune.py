"""The run kind ``tune``: try many specs on the same rows, then fit the best one and store it like a fit.

The first trial is what a fit would select by the same short runs, so that a search is never far behind a fit. The best
trial is fitted again: that costs one trial more, and the model, its history and its checkpoints are those of any fit.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from pydantic import TypeAdapter

from worker.contracts.artifacts import ArtifactRef, Checkpoint, ResultFile, TuneCheckpoint
from worker.contracts.errors import DoesNotFit, NoTrialSucceeded
from worker.contracts.events import LogData, TrialData
from worker.contracts.messages import (
    AnyReport,
    FitOrder,
    IterationReport,
    LogReport,
    ProgressReport,
    Reported,
    TrialReport,
    TuneDone,
    TuneOrder,
)
from worker.contracts.requests import FitRequest
from worker.contracts.resources import Progress
from worker.contracts.results import TuneResult, search_metric
from worker.contracts.specs import AUTO_CANDIDATES, FitSpec
from worker.contracts.validation import validation_chose
from worker.engine.choice import CandidateRun, number_of_runs
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError
from worker.runs.checkpoints import drop_outdated_checkpoint
from worker.runs.data import load_rows
from worker.runs.fit import fit
from worker.store.files.artifacts import Artifacts
from worker.training import search_space
from worker.training.machine import Machine
from worker.training.model_selection import choose, float64_if_few
from worker.training.pipeline import recurse
from worker.training.rows import TrainingRows
from worker.training.search import Loss, Params, Trial, best, search

TRIALS: TypeAdapter[list[TrialData]] = TypeAdapter(list[TrialData])


def tune(order: TuneOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]) -> TuneDone:
    """Search, from the order's checkpoint if it has one, and train a model with the best options.

    Raises:
        NoTrialSucceeded: every trial failed.
        InvalidRequest: the rows cannot be learned from.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    return _Tune(drop_outdated_checkpoint(order, report), artifacts, machine, report).run()


class _Tune:
    """One run of a search."""

    def __init__(
        self, order: TuneOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
    ) -> None:
        self._order = order
        self._artifacts = artifacts
        self._machine = machine
        self._report = report
        self._spec = search_space.around(order.request.spec)
        self._space = order.request.search.space or {}
        self._trials = order.request.search.trials
        self._rows: dict[str, list[TrainingRows]] = {}
        self._ended: list[TrialData] = []
        self._metrics: list[dict[str, float]] = []

    def run(self) -> TuneDone:
        """Return the stored model and list of trials."""
        checkpoint = self._order.checkpoint
        if checkpoint is not None:
            self._ended = TRIALS.validate_json(self._artifacts.read_bytes(checkpoint.trials))
            message = f"going on from the checkpoint of trial {len(self._ended)}"
            self._report(LogReport(data=LogData(message=message)))
        trials = [_trial(data) for data in self._ended]
        if len(trials) == self._trials and best(trials) is None:
            # retried after every trial failed: there may be more memory now
            trials, self._ended = [], []
        stored = None if checkpoint is None else checkpoint.trials
        first = trials[0].params if trials else self._first()
        started = time.perf_counter()
        for trial in search(
            self._losses,
            self._space,
            trials=self._trials,
            seed=self._order.request.search.seed,
            first=first,
            applies=lambda name, params: search_space.applies(self._spec, name, params),
            failures=(EngineError, DoesNotFit),
            finished=trials,
        ):
            trials.append(trial)
            stored = self._take(trial, trials, time.perf_counter() - started)
            started = time.perf_counter()
        winner = best(trials)
        if winner is None or stored is None:
            raise NoTrialSucceeded(f"all {len(trials)} trials failed; the first: {trials[0].reason}")
        return self._fit(winner, stored, None if checkpoint is None else checkpoint.winner)

    def _first(self) -> Params:
        """Return the options of the first trial: those that a fit would select."""
        spec = self._order.request.spec
        expected = number_of_runs(len(spec.candidates()))

        def stage(stage: str, done: float, following: float) -> None:
            progress = Progress(trials=self._trials, fraction=self._selects * done / self._parts, stage=stage)
            self._report(ProgressReport(progress=progress, next_fraction=self._selects * following / self._parts))

        def load(spec: FitSpec) -> TrainingRows:
            stage("reading the rows", 0.0, 1 / expected)
            rows = self._load(spec)[0]
            stage("choosing where to begin", 0.0, 1 / expected)
            return rows

        def ended(run: CandidateRun, number: int, runs: int) -> None:
            stage(f"choosing where to begin ({number} of {runs})", number / runs, min((number + 1) / runs, 1.0))

        # rows that no spec can learn from fail the search here, instead of every trial
        load(spec.candidates()[0])
        try:
            choice = choose(spec, load, device=self._machine.device, ended=ended)
        except EngineError as error:
            message = f"no way to fit stood a short run, and the first trial is the spec as it was given: {error}"
            self._report(LogReport(data=LogData(message=message)))
            return search_space.values_of(self._spec, self._space)
        # as in a fit: folds compare ridges better than a part of the rows does
        ridge = spec.ridge if self._folds else choice.spec.ridge
        first = search_space.values_of(choice.spec.model_copy(update={"ridge": ridge}), self._space)
        if choice.runs:
            decided = [name for name in (*AUTO_CANDIDATES, "ridge") if getattr(spec, name) == "auto" and name in first]
            options = ", ".join(f"{name} {first[name]}" for name in decided)
            message = f"{options} did best in {len(choice.runs)} short runs and make the first trial"
            self._report(LogReport(data=LogData(message=message)))
        return first

    @property
    def _folds(self) -> int:
        validation = self._order.request.validation
        return (validation.folds or 0) if validation is not None else 0

    def _losses(self, number: int, params: Params) -> Iterator[Loss]:
        """Yield the loss after each iteration of one trial, averaged over the folds, which advance together."""
        self._metrics = []
        spec = self._configured(params)
        config = FitConfig(**spec.engine_options(), raise_ridge=self._raise_ridge)
        self._report_trial(number, None, config)
        for states in zip(*(recurse(rows, config, self._machine) for rows in self._load(spec)), strict=False):
            iterates = [state.current for state in states]
            self._metrics.append(
                {name: _mean([iterate.metrics[name] for iterate in iterates]) for name in iterates[0].metrics}
            )
            self._report_trial(number, iterates[0].iteration, config)
            yield tuple(_mean(parts) for parts in zip(*(iterate.loss or () for iterate in iterates), strict=True))

    def _configured(self, params: Params) -> FitSpec:
        """Return the resolved spec of a trial; the fit of the best trial repeats it exactly."""
        return float64_if_few(search_space.configured(self._spec, params), self._fitted)

    @property
    def _raise_ridge(self) -> bool:
        """Whether the ridge is selected rather than given."""
        return self._order.request.spec.ridge == "auto" or "ridge" in self._space

    @cached_property
    def _fitted(self) -> int:
        """Number of training rows of the last fit: with folds, all rows."""
        rows = self._load(self._spec)[0]
        return len(rows.together[1] if self._folds else rows.Y)

    def _load(self, spec: FitSpec) -> list[TrainingRows]:
        """Return the rows of each fold; trials with the same encoding share them."""
        encoding = spec.model_dump_json(exclude=set(spec.engine_options()))
        if encoding not in self._rows:
            folds = range(1, self._folds + 1) if self._folds else [None]
            order = self._fit_order(spec, None)
            self._rows[encoding] = [load_rows(order, self._artifacts, fold) for fold in folds]
        return self._rows[encoding]

    def _take(self, trial: Trial, trials: Sequence[Trial], seconds: float) -> ArtifactRef:
        """Store and report a finished trial. Return the stored list of trials."""
        step = trial.best_step if trial.losses else None
        twin = None if trial.same_as is None else self._ended[trial.same_as]
        metrics = twin.metrics if twin is not None else {} if step is None else self._metrics[step]
        progress = self._progress(trial.number + 1, 0.0, None, None)
        left = self._trials - trial.number  # the fit of the best one counts too
        eta = (sum(ended.seconds for ended in self._ended) + seconds) / (trial.number + 1) * left
        data = TrialData(
            trial=trial.number + 1,
            trials=self._trials,
            state=trial.state,
            reason=trial.reason if trial.same_as is None else f"the same options as trial {trial.same_as + 1}",
            params=dict(trial.params),
            iteration=step,
            iterations=max(len(trial.losses) - 1, 0),
            metrics=metrics,
            losses=list(trial.losses),
            seconds=seconds,
            eta_seconds=eta,
        )
        self._ended.append(data)
        key = f"jobs/{self._order.prefix}/trials-{data.trial:04d}.json"
        stored = self._artifacts.put_bytes(key, TRIALS.dump_json(self._ended))
        leader = best(trials)
        self._report(
            TrialReport(
                progress=progress.model_copy(update={"eta_seconds": eta}),
                next_fraction=progress.fraction,
                metrics={} if leader is None else self._ended[leader.number].metrics,
                data=data,
                checkpoint=TuneCheckpoint(trials=stored, centred=True),
            )
        )
        return stored

    def _report_trial(self, number: int, iteration: int | None, config: FitConfig) -> None:
        """Report the current trial after an iteration; None: before the first."""
        each = 1 / (config.iterations + 1)
        done = len(self._metrics) * each
        progress = self._progress(number, done, iteration, config)
        following = min(progress.fraction + each / self._parts, 1.0)
        self._report(ProgressReport(progress=progress, next_fraction=following))

    @cached_property
    def _selects(self) -> int:
        """1 if short runs select the first trial, else 0: they count as one trial."""
        return int(len(self._order.request.spec.candidates()) > 1)

    @property
    def _parts(self) -> int:
        """Number of progress parts: the short runs, every trial, and the fit of the best trial."""
        return self._selects + self._trials + 1

    def _progress(self, number: int, done: float, iteration: int | None, config: FitConfig | None) -> Progress:
        mean = _mean([trial.seconds for trial in self._ended]) if self._ended else None
        return Progress(
            trial=min(number + 1, self._trials),
            trials=self._trials,
            iteration=iteration,
            iterations=None if config is None else config.iterations,
            fraction=min((self._selects + number + done) / self._parts, 1.0),
            stage=f"trial {number + 1} of {self._trials}" if number < self._trials else "fitting the best trial",
            eta_seconds=None if mean is None else mean * (self._trials + 1 - number - done),
        )

    def _fit(self, winner: Trial, stored: ArtifactRef, checkpoint: Checkpoint | None) -> TuneDone:
        """Fit the best spec to its end, and store the list of trials beside the model."""
        spec = self._configured(winner.params)
        self._rows.clear()
        self._report(LogReport(data=LogData(message=f"trial {winner.number + 1} is the best; fitting it")))

        def report(answer: AnyReport) -> None:
            if isinstance(answer, Reported):
                shown = {"trial": self._trials, "trials": self._trials, "stage": "fitting the best trial"}
                fraction, following = (
                    (self._selects + self._trials + part) / self._parts
                    for part in (answer.progress.fraction, answer.next_fraction)
                )
                progress = answer.progress.model_copy(update={**shown, "fraction": fraction})
                answer = answer.model_copy(update={"progress": progress, "next_fraction": following})
            if isinstance(answer, IterationReport) and isinstance(answer.checkpoint, Checkpoint):
                checkpoint = TuneCheckpoint(trials=stored, winner=answer.checkpoint, centred=True)
                answer = answer.model_copy(update={"checkpoint": checkpoint})
            self._report(answer)

        fit_order = self._fit_order(spec, checkpoint)
        done = fit(fit_order, self._artifacts, self._machine, report, raise_ridge=self._raise_ridge)
        chose = validation_chose(self._order.request.model_dump())
        done = done.model_copy(update={"summary": done.summary.model_copy(update={"validation_chose": chose})})
        result = TuneResult(
            metric=search_metric(self._order.task),
            best=winner.number + 1,
            spec=done.summary.spec,
            metrics=self._ended[winner.number].metrics,
            validation_chose=chose,
            trials=self._ended,
        )
        key = f"results/{self._order.prefix}/trials.json"
        content = self._artifacts.put_bytes(key, result.model_dump_json().encode())
        return TuneDone(fit=done, file=ResultFile(result=content, media_type="application/json"))

    def _fit_order(self, spec: FitSpec, checkpoint: Checkpoint | None) -> FitOrder:
        order = self._order
        shared = order.request.model_dump(exclude={"kind", "search", "spec"})
        return FitOrder(
            job=order.job,
            attempt=order.attempt,
            origin=order.origin,
            prefix=order.prefix,
            request=FitRequest(**shared, spec=spec),
            task=order.task,
            table=order.table,
            validation=order.validation,
            checkpoint=checkpoint,
        )


def _trial(data: TrialData) -> Trial:
    return Trial(data.trial - 1, data.params, data.state, tuple(data.losses), data.reason)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
