"""The run kind ``tune``: plan rounds of trials, then fit the best one and store it as a fit would be.

The first trial is what a fit would choose, by the same short runs, so that a search is never far behind a fit. The
trials of a round are parts of the job, which any worker takes. The best one is fitted again rather than kept from its
trial: it costs one trial more, and the model, its history and its checkpoints are those of any fit.
"""

from collections.abc import Callable, Mapping
from functools import cached_property

from worker.contracts.artifacts import ArtifactRef, Checkpoint, ChoosingCheckpoint, ResultFile, TuneCheckpoint
from worker.contracts.errors import NoTrialSucceeded
from worker.contracts.events import LogData, TrialData
from worker.contracts.messages import (
    AnyReport,
    FitDone,
    IterationReport,
    LogReport,
    ProgressReport,
    Reported,
    RoundPlanned,
    TrialReport,
    TuneDone,
    TuneOrder,
)
from worker.contracts.parts import TrialResult, TrialWork
from worker.contracts.resources import PartCounts, Progress
from worker.contracts.results import TuneResult, search_metric
from worker.contracts.specs import AUTO_CANDIDATES
from worker.contracts.validation import validation_chose
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError
from worker.engine.estimate import estimate
from worker.runs.checkpoints import drop_outdated_checkpoint
from worker.runs.choosing import READING_SHARE, Choosing
from worker.runs.fit import fit
from worker.runs.parts.trial import TRIALS, SearchRows, stored_trial
from worker.store.files.artifacts import Artifacts
from worker.tables.encoding.width import encoded_width
from worker.training import search_space
from worker.training.machine import Machine
from worker.training.model_selection import Candidates
from worker.training.search import Params, Trial, best, drawn, round_end, round_start


def tune(
    order: TuneOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> TuneDone | RoundPlanned:
    """Plan the next round of trials; after the last one train a model with what was best.

    Raises:
        NoTrialSucceeded: every trial failed.
        InvalidRequest: the rows cannot be learned from.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    return _Tune(drop_outdated_checkpoint(order, report), artifacts, machine, report).run()


class _Tune:
    """One search under way."""

    def __init__(
        self, order: TuneOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
    ) -> None:
        self._order = order
        self._artifacts = artifacts
        self._machine = machine
        self._report = report
        self._rows = SearchRows(order, artifacts)
        self._space = order.request.search.space or {}
        self._trials = order.request.search.trials
        self._ended: list[TrialData] = []
        self._stored: ArtifactRef | None = None

    def run(self) -> TuneDone | RoundPlanned:
        """Return the next round, or where the model and the list of trials are."""
        checkpoint = self._order.checkpoint
        winner_checkpoint = None
        if isinstance(checkpoint, TuneCheckpoint):
            winner_checkpoint = checkpoint.winner
            self._stored = checkpoint.trials
            self._ended = TRIALS.validate_json(self._artifacts.read_bytes(checkpoint.trials))
        results = [outcome.result for outcome in self._order.outcomes]
        made = {result.data.trial: result.data for result in results if isinstance(result, TrialResult)}
        if len(self._ended) == self._trials and best(self._past) is None:
            # retried after every trial failed: there may be more memory now
            self._ended, made, self._stored = [], {}, None
        first = self._first(made)
        if isinstance(first, RoundPlanned):
            return first
        while len(self._ended) < self._trials:
            draws = self._draws(made, first)
            works = self._works(draws)
            if any(work.trial not in made for work in works):
                # a round that lost some of its parts is planned again under its number
                again = any(work.trial in made for work in works)
                return self._round(self._order.round + (not again), works)
            self._take(draws, made)
        winner = best(self._past)
        if winner is None or self._stored is None:
            reason = self._ended[0].reason
            raise NoTrialSucceeded(f"all {len(self._ended)} trials failed; the first: {reason}")
        return self._fit(winner, self._stored, winner_checkpoint)

    @property
    def _past(self) -> list[Trial]:
        return [stored_trial(data) for data in self._ended]

    def _draws(self, made: Mapping[int, TrialData], first: Params) -> dict[int, Params]:
        """Return the params of the trials of the next round, by their numbers from 1. ``made``: those it has made."""
        past, start = self._past, len(self._ended)
        beside = [data.params for data in self._ended[round_start(start) :]]
        draws: dict[int, Params] = {}
        for number in range(start, min(round_end(start), self._trials)):
            draws[number + 1] = drawn(
                self._space,
                past,
                [*beside, *draws.values()],
                self._order.request.search.seed,
                number,
                first,
                lambda name, params: search_space.applies(self._rows.spec, name, params),
            )
        return draws

    def _works(self, draws: Mapping[int, Params]) -> list[TrialWork]:
        """Return what is to be tried: the draws without those that are equal to an earlier one."""
        known = [data.params for data in self._ended]
        works = []
        for number, params in draws.items():
            if params not in known:
                works.append(TrialWork(trial=number, params=dict(params), ended=self._stored))
            known.append(dict(params))
        # the round ends with its last trial: long ones begin first
        return sorted(works, key=lambda work: -self._flops(work.params))

    def _flops(self, params: Params) -> float:
        """Return about how much work a trial is, beside others."""
        order = self._order
        spec = search_space.configured(self._rows.spec, params)
        columns = {column.name: column for column in order.table.columns}
        features = [columns[name] for name in order.request.features or ()]
        width = encoded_width(features, spec.encoding != "plain")
        config = FitConfig(**spec.engine_options())
        return estimate(order.table.rows, width, len(order.request.targets), 0, config).flops

    def _round(self, number: int, works: list[TrialWork]) -> RoundPlanned:
        done = len(self._ended)
        behind = max(work.trial for work in works)
        progress = Progress(
            trial=done + 1,
            trials=self._trials,
            fraction=(self._chosen + done) / self._steps,
            stage=f"trials {done + 1} to {behind} of {self._trials}",
            parts=PartCounts(done=0, running=0, total=len(works), fraction_after=(self._chosen + behind) / self._steps),
        )
        leader = best(self._past)
        return RoundPlanned(
            round=number,
            parts=works,
            progress=progress,
            metrics={} if leader is None else self._ended[leader.number].metrics,
            checkpoint=self._checkpoint(),
        )

    def _checkpoint(self) -> TuneCheckpoint | ChoosingCheckpoint:
        if self._stored is None:
            return self._choosing.stored()
        return TuneCheckpoint(trials=self._stored, centred=True)

    def _take(self, draws: Mapping[int, Params], made: Mapping[int, TrialData]) -> None:
        """Store the trials of a round that has ended; those that were not tried have what their twins found."""
        twins: list[TrialData] = []
        for number, params in draws.items():
            data = made.get(number)
            if data is None:
                twin = next(known for known in self._ended if known.params == params)
                changes = {"trial": number, "reason": f"the same options as trial {twin.trial}", "seconds": 0.0}
                data = twin.model_copy(update=changes)
                twins.append(data)
            self._ended.append(data)
        stored = self._store()
        leader = best(self._past)
        fraction = (self._chosen + len(self._ended)) / self._steps
        for data in twins:
            self._report(
                TrialReport(
                    progress=Progress(trial=data.trial, trials=self._trials, fraction=fraction, stage="trials"),
                    next_fraction=fraction,
                    metrics={} if leader is None else self._ended[leader.number].metrics,
                    data=data,
                    checkpoint=TuneCheckpoint(trials=stored, centred=True),
                )
            )

    def _store(self) -> ArtifactRef:
        key = f"jobs/{self._order.prefix}/trials-{len(self._ended):04d}.json"
        self._stored = self._artifacts.put_bytes(key, TRIALS.dump_json(self._ended))
        return self._stored

    def _first(self, made: Mapping[int, TrialData]) -> Params | RoundPlanned:
        """Return the options of the first trial: what a fit would choose of what the spec leaves open.

        Or the next round of short runs that choose. ``made``: the trials that the last round has made.
        """
        for known in (*self._ended[:1], *made.values()):
            if known.trial == 1:
                return known.params
        # rows that no spec can learn from end the search here
        given, choosing = self._order.request.spec, self._choosing
        try:
            planned = choosing.planned(self._chosen / self._steps, Progress(trials=self._trials))
        except EngineError as error:
            message = f"no way to fit stood a short run, and the first trial is the spec as it was given: {error}"
            self._report(LogReport(data=LogData(message=message)))
            return search_space.values_of(self._rows.spec, self._space)
        if planned is not None:
            return planned
        spec, runs = choosing.spec, choosing.summaries
        # as in a fit: folds tell the ridges apart better than a part of the rows does
        ridge = given.ridge if self._rows.folds else spec.ridge
        first = search_space.values_of(spec.model_copy(update={"ridge": ridge}), self._space)
        if runs:
            decided = [name for name in (*AUTO_CANDIDATES, "ridge") if getattr(given, name) == "auto" and name in first]
            options = ", ".join(f"{name} {first[name]}" for name in decided)
            message = f"{options} did best in {len(runs)} short runs and make the first trial"
            self._report(LogReport(data=LogData(message=message)))
        return first

    @cached_property
    def _choosing(self) -> Choosing:
        """What chooses where to begin. It has begun."""
        choosing = Choosing(self._order, self._artifacts)
        if not choosing.begun:
            progress = Progress(trials=self._trials, stage="reading the rows")
            share = READING_SHARE * self._chosen / self._steps
            self._report(ProgressReport(progress=progress, next_fraction=share))
            candidates = Candidates.of(self._order.request.spec, lambda spec: self._rows.load(spec)[0])
            choosing.begin(candidates, self._machine)
        return choosing

    @property
    def _chosen(self) -> int:
        """The short runs count as much as a trial."""
        return int(len(self._order.request.spec.candidates()) > 1)

    @property
    def _steps(self) -> int:
        """The short runs, every trial, and the fit of the best one."""
        return self._chosen + self._trials + 1

    def _fit(self, winner: Trial, stored: ArtifactRef, checkpoint: Checkpoint | None) -> TuneDone:
        """Fit the best spec to its end, and store the list of trials beside the model."""
        spec = self._rows.configured(winner.params)
        self._report(LogReport(data=LogData(message=f"trial {winner.number + 1} is the best; fitting it")))

        def report(answer: AnyReport) -> None:
            if isinstance(answer, Reported):
                shown = {"trial": self._trials, "trials": self._trials, "stage": "fitting the best trial"}
                fraction, following = (
                    (self._chosen + self._trials + part) / self._steps
                    for part in (answer.progress.fraction, answer.next_fraction)
                )
                progress = answer.progress.model_copy(update={**shown, "fraction": fraction})
                answer = answer.model_copy(update={"progress": progress, "next_fraction": following})
            if isinstance(answer, IterationReport) and isinstance(answer.checkpoint, Checkpoint):
                checkpoint = TuneCheckpoint(trials=stored, winner=answer.checkpoint, centred=True)
                answer = answer.model_copy(update={"checkpoint": checkpoint})
            self._report(answer)

        fit_order = self._rows.fit_order(spec, checkpoint)
        done = fit(fit_order, self._artifacts, self._machine, report, raise_ridge=self._rows.raise_ridge)
        assert isinstance(done, FitDone)  # noqa: S101 - the order does not let folds become parts
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
