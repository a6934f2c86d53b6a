"""The run kind ``trial``: one spec of a search, scored on the validation rows. It is a part of a ``tune`` job."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from pydantic import TypeAdapter

from worker.contracts.artifacts import Checkpoint
from worker.contracts.errors import DoesNotFit, TooWide
from worker.contracts.events import TrialData
from worker.contracts.messages import AnyReport, FitOrder, PartDone, ProgressReport, TrialOrder, TuneOrder
from worker.contracts.parts import TrialResult
from worker.contracts.requests import FitRequest
from worker.contracts.resources import Progress
from worker.contracts.specs import FitSpec
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError
from worker.runs.data import load_rows
from worker.store.files.artifacts import Artifacts
from worker.training import search_space
from worker.training.machine import Machine
from worker.training.model_selection import float64_if_few
from worker.training.pipeline import recurse
from worker.training.rows import TrainingRows
from worker.training.search import Loss, Params, Trial, tried

TRIALS: TypeAdapter[list[TrialData]] = TypeAdapter(list[TrialData])


def trial(order: TrialOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]) -> PartDone:
    """Run one trial to its end, or until it is worse than the trials of earlier rounds.

    Raises:
        InvalidRequest: the rows cannot be learned from.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    began = time.perf_counter()
    work = order.work
    rows = SearchRows(order, artifacts)
    earlier = [] if work.ended is None else TRIALS.validate_json(artifacts.read_bytes(work.ended))
    spec = rows.configured(work.params)
    metrics: list[dict[str, float]] = []
    ended = tried(
        _losses(rows, spec, machine, report, metrics),
        [stored_trial(data) for data in earlier],
        work.trial - 1,
        work.params,
        failures=(EngineError, DoesNotFit, TooWide),
    )
    data = trial_data(ended, order.request.search.trials, metrics, time.perf_counter() - began)
    return PartDone(result=TrialResult(data=data))


class SearchRows:
    """The rows of a search, read and encoded once for all specs that encode alike; and the whole specs of trials."""

    def __init__(self, order: TuneOrder | TrialOrder, artifacts: Artifacts) -> None:
        self.spec = search_space.around(order.request.spec)
        self._order = order
        self._artifacts = artifacts
        self._space = order.request.search.space or {}
        self._rows: dict[str, list[TrainingRows]] = {}

    @property
    def folds(self) -> int:
        """How many folds validate, 0 where a fraction or a dataset does."""
        validation = self._order.request.validation
        return (validation.folds or 0) if validation is not None else 0

    @property
    def raise_ridge(self) -> bool:
        """Whether ridges are drawn or tried, and not given."""
        return self._order.request.spec.ridge == "auto" or "ridge" in self._space

    def configured(self, params: Params) -> FitSpec:
        """Return the whole spec of a trial, which the fit of the best one repeats to the last bit."""
        return float64_if_few(search_space.configured(self.spec, params), self._fitted)

    def load(self, spec: FitSpec) -> list[TrainingRows]:
        """Return the rows of each fold, or of the one split."""
        encoding = spec.model_dump_json(exclude=set(spec.engine_options()))
        if encoding not in self._rows:
            folds = range(1, self.folds + 1) if self.folds else [None]
            order = self.fit_order(spec, None)
            self._rows[encoding] = [load_rows(order, self._artifacts, fold) for fold in folds]
        return self._rows[encoding]

    def fit_order(self, spec: FitSpec, checkpoint: Checkpoint | None) -> FitOrder:
        """Return the order for a fit with one spec of the search."""
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

    @cached_property
    def _fitted(self) -> int:
        """How many rows a fit would train on: with folds, the last one trains on all."""
        rows = self.load(self.spec)[0]
        return len(rows.together[1] if self.folds else rows.Y)


def trial_data(ended: Trial, trials: int, metrics: Sequence[dict[str, float]], seconds: float) -> TrialData:
    """Return a trial as followers see it; ``metrics`` after each iteration, ``trials`` how many there will be."""
    step = ended.best_step if ended.losses else None
    return TrialData(
        trial=ended.number + 1,
        trials=trials,
        state=ended.state,
        reason=ended.reason,
        params=dict(ended.params),
        iteration=step,
        iterations=max(len(ended.losses) - 1, 0),
        metrics={} if step is None else metrics[step],
        losses=list(ended.losses),
        seconds=seconds,
    )


def stored_trial(data: TrialData) -> Trial:
    """Return the trial that ``trial_data`` described."""
    return Trial(data.trial - 1, data.params, data.state, tuple(data.losses), data.reason)


def _losses(
    rows: SearchRows,
    spec: FitSpec,
    machine: Machine,
    report: Callable[[AnyReport], None],
    metrics: list[dict[str, float]],
) -> Iterator[Loss]:
    """Yield the loss after each iteration; over folds, which go step by step together, the mean. Fills ``metrics``."""
    config = FitConfig(**spec.engine_options(), raise_ridge=rows.raise_ridge)
    each = 1 / (config.iterations + 1)
    report(ProgressReport(progress=Progress(stage="trying a spec"), next_fraction=each))
    for states in zip(*(recurse(fold, config, machine) for fold in rows.load(spec)), strict=False):
        reached = [state.current for state in states]
        metrics.append({name: _mean([fold.metrics[name] for fold in reached]) for name in reached[0].metrics})
        progress = Progress(
            stage="trying a spec",
            iteration=reached[0].iteration,
            iterations=config.iterations,
            fraction=min(len(metrics) * each, 1.0),
        )
        report(ProgressReport(progress=progress, next_fraction=min((len(metrics) + 1) * each, 1.0)))
        yield tuple(_mean(parts) for parts in zip(*(fold.loss or () for fold in reached), strict=True))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
