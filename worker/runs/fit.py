"""The run kind ``fit``: load and encode the table, run the recursion, store the model.

With ``folds`` every fold is fitted first; the iteration and the ridge that did best over them then fit all rows.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from worker.contracts.events import IterationData, LogData
from worker.contracts.messages import FitDone, FitOrder, FittedModelSummary, IterationReport, LogReport
from worker.contracts.messages import Report as AnyReport
from worker.contracts.resources import IterationSummary, ModelColumn, Progress
from worker.engine import summary
from worker.engine.estimate import estimate
from worker.engine.model import FittedModel
from worker.engine.recursion import FitConfig, FitState, iterate
from worker.prediction import ServedModel
from worker.runs.checkpoints import Checkpoints, Score, Trail
from worker.runs.data import TrainingRows, load_rows
from worker.runs.machine import Machine
from worker.store.artifacts import Artifacts
from worker.store.tensors import pack, unpack

TOP_FEATURES = 10
FINAL = "fit"


def fit(order: FitOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]) -> FitDone:
    """Train a model, from the order's checkpoint if it has one. Everything is stored under the order's prefix.

    Raises:
        InvalidRequest: the rows cannot be learned from.
        DoesNotFit: there is too little memory.
        EngineError: the mathematics broke down.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    return _Fit(order, artifacts, machine, report).run()


class _Fit:
    """One fit under way."""

    def __init__(
        self, order: FitOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
    ) -> None:
        self._order = order
        self._artifacts = artifacts
        self._machine = machine
        self._report = report
        self._spec = order.request.spec
        self._config = FitConfig(**self._spec.engine_options())
        self._folds = (order.request.validation.folds or 0) if order.request.validation is not None else 0
        self._checkpoints = Checkpoints(artifacts, order.prefix)
        self._seconds: list[float] = []
        self._names: tuple[str, ...] = ()
        self._last_M: torch.Tensor | None = None

    def run(self) -> FitDone:
        """Return where the model is."""
        state, trail = None, Trail()
        if self._order.checkpoint is not None:
            state, trail = self._checkpoints.load(self._order.checkpoint, self._machine.device)
            message = f"going on from the checkpoint of iteration {state.current.iteration}"
            self._report(LogReport(data=LogData(message=message)))
        resumed_fold = None if self._order.checkpoint is None else self._order.checkpoint.fold
        while trail.fold <= self._folds:
            resumed = state if resumed_fold == trail.fold else None
            self._run_fold(resumed, trail)
        config = self._config if not self._folds else _chosen(self._config, trail.folds)
        rows = load_rows(self._order, self._artifacts, fold=None)
        final = self._recurse(rows, config, state if resumed_fold is None else None, trail, FINAL)
        return self._store(rows, config, final, trail)

    def _run_fold(self, state: FitState | None, trail: Trail) -> None:
        if state is None:
            trail.scores = []
        rows = load_rows(self._order, self._artifacts, fold=trail.fold)
        self._recurse(rows, self._config, state, trail, f"fold-{trail.fold:02d}")
        trail.folds.append(trail.scores)
        trail.scores, trail.history, trail.matrices = [], [], []

    def _recurse(
        self, rows: TrainingRows, config: FitConfig, state: FitState | None, trail: Trail, stage: str
    ) -> FitState:
        """Run one recursion to its end and return its last state; every state is stored and reported."""
        self._check_memory(rows, config)
        self._names = tuple(rows.encoder.names)
        self._last_M = None if state is None else state.current.M
        device = self._machine.device
        held_out = rows.validation
        validation = None if held_out is None else (held_out[0].to(device), held_out[1].to(device))
        states = iterate(
            rows.X.to(device),
            rows.Y.to(device),
            rows.targets.to(device),
            config,
            validation=validation,
            state=state,
            clock=time.perf_counter,
        )
        for reached in states:
            self._take(reached, config, trail, stage)
            state = reached
        assert state is not None  # noqa: S101 - a recursion yields at least once, or was resumed from a state
        return state

    def _take(self, state: FitState, config: FitConfig, trail: Trail, stage: str) -> None:
        current = state.current
        seconds = sum(state.timings.values())
        self._seconds.append(seconds)
        spectrum = summary.spectrum(current.M)
        rank = summary.effective_rank(spectrum.eigenvalues)
        shares = summary.importance(current.M)
        fold = trail.fold if stage != FINAL else None
        if fold is None:
            self._remember(state, trail, seconds, rank)
        else:
            trail.scores.append(Score(loss=current.loss or (), ridge=current.ridge))
        for ridge in state.skipped_ridges:
            message = f"iteration {current.iteration}: ridge {ridge:g} was skipped, its system could not be factored"
            self._report(LogReport(data=LogData(level="warning", message=message)))
        if state.stopped in ("patience", "no_signal"):
            message = f"stopped after iteration {current.iteration}: {state.stopped}"
            self._report(LogReport(data=LogData(message=message)))
        progress = self._progress(current.iteration, config, fold, ended=state.finished)
        data = IterationData(
            iteration=current.iteration,
            iterations=config.iterations,
            metrics=current.metrics,
            ridge=current.ridge,
            bandwidth=current.bandwidth,
            trace=float(spectrum.eigenvalues.sum()),
            effective_rank=rank,
            top=[self._names[index] for index in shares.topk(min(TOP_FEATURES, len(shares))).indices.tolist()],
            seconds=seconds,
            eta_seconds=progress.eta_seconds,
            fold=fold,
        )
        checkpoint = self._checkpoints.save(stage, state, trail, fold)
        self._report(IterationReport(progress=progress, data=data, checkpoint=checkpoint))

    def _remember(self, state: FitState, trail: Trail, seconds: float, rank: float) -> None:
        current = state.current
        if trail.history:
            before = trail.history[-1]
            cosine = summary.cosine(self._last_M, current.M) if self._last_M is not None else None
            trail.history[-1] = before.model_copy(update={"cosine_to_next": cosine})
        self._last_M = current.M
        kept = self._checkpoints.save_matrix(FINAL, current.iteration, current.M, trail)
        trail.history.append(
            IterationSummary(
                iteration=current.iteration,
                metrics=current.metrics,
                ridge=current.ridge,
                bandwidth=current.bandwidth,
                seconds=seconds,
                trace=float(current.M.sum() if current.M.ndim == 1 else current.M.trace()),
                effective_rank=rank,
                matrix=kept,
            )
        )

    def _progress(self, iteration: int, config: FitConfig, fold: int | None, *, ended: bool) -> Progress:
        """Count iterations over all folds and the last fit; a recursion that ended early counts as whole."""
        each = config.iterations + 1
        before = (fold - 1 if fold is not None else self._folds) * each
        done = before + (each if ended else iteration + 1)
        total = (self._folds + 1) * each
        return Progress(
            iteration=iteration,
            iterations=config.iterations,
            fraction=min(done / total, 1.0),
            stage="fitting" if fold is None else f"fitting fold {fold} of {self._folds}",
            eta_seconds=sum(self._seconds) / len(self._seconds) * max(total - done, 0),
        )

    def _check_memory(self, rows: TrainingRows, config: FitConfig) -> None:
        n, d = rows.X.shape
        m = 0 if rows.validation is None else rows.validation[0].shape[0]
        self._machine.check_fits(estimate(n, d, rows.targets.n_outputs, m, config).bytes)

    def _store(self, rows: TrainingRows, config: FitConfig, state: FitState, trail: Trail) -> FitDone:
        best = state.best
        fitted = FittedModel.from_iterate(rows.X.to(self._machine.device), best, config, rows.targets)
        request = self._order.request
        types = {column.name: column.type for column in self._order.table.columns}
        features = [ModelColumn(name=name, type=types[name]) for name in request.features or ()]
        targets = [ModelColumn(name=name, type=types[name]) for name in request.targets]
        model = ServedModel(rows.encoder, fitted, self._order.task, rows.classes, features, targets)
        folder = f"models/{self._order.prefix}"
        self._report(LogReport(data=LogData(message=f"iteration {best.iteration} is the best; storing the model")))
        stored = self._artifacts.put_bytes(f"{folder}/model.safetensors", pack(*model.to_tensors()))
        matrices = self._artifacts.put_bytes(f"{folder}/matrices.safetensors", self._matrices(state, trail))
        history = [
            one.model_copy(update={"matrix": True}) if one.iteration == best.iteration else one for one in trail.history
        ]
        return FitDone(
            model=stored,
            matrices=matrices,
            summary=FittedModelSummary(
                task=self._order.task,
                classes=rows.classes,
                features=features,
                targets=targets,
                encoded_names=list(rows.encoder.names),
                encoded_sources=list(rows.encoder.sources),
                spec=self._spec.resolved().model_dump(mode="json"),
                metrics=best.metrics,
                iteration=best.iteration,
                iterations=state.current.iteration,
                ridge=best.ridge,
                bandwidth=best.bandwidth,
                precision=str(config.dtype).removeprefix("torch."),
                training_rows=rows.X.shape[0],
                history=history,
            ),
        )

    def _matrices(self, state: FitState, trail: Trail) -> bytes:
        """Return M of every iteration that was kept, and of the chosen one in any case."""
        tensors: dict[str, Any] = {}
        for ref in trail.matrices:
            tensors |= unpack(self._artifacts.read_bytes(ref))[0]
        tensors[f"{state.best.iteration:04d}"] = state.best.M.to("cpu", torch.float32).numpy()
        return pack(tensors, {"iterations": sorted(tensors)})


def _chosen(config: FitConfig, folds: list[list[Score]]) -> FitConfig:
    """Return the config of the last fit: the iteration with the least mean loss over the folds, and its ridge.

    A fold that stopped early did not reach the later iterations, so only those count that every fold reached. The
    ridge is the median over the folds (the lower one of an even number).
    """
    reached = min(len(scores) for scores in folds)
    means = [
        tuple(sum(parts) / len(folds) for parts in zip(*(scores[t].loss for scores in folds), strict=True))
        for t in range(reached)
    ]
    best = min(range(reached), key=lambda t: means[t])
    ridges = sorted(scores[best].ridge for scores in folds)
    return replace(config, iterations=best, ridge=ridges[(len(ridges) - 1) // 2], patience=None)
