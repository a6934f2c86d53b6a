"""The run kind ``fit``: load and encode the table, run the recursion, store the model.

Options on 'auto' are selected first. With ``folds`` every fold is fitted next, here or as parts of the job (``folds``);
the iteration and the ridge with the best mean score then fit all rows. Rows held out by a fraction join the last solve.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from worker.contracts.artifacts import Checkpoint, FoldsCheckpoint
from worker.contracts.events import IterationData, LogData
from worker.contracts.messages import (
    AnyReport,
    FitDone,
    FitOrder,
    IterationReport,
    LogReport,
    ProgressReport,
    RoundPlanned,
)
from worker.contracts.parts import FoldDone, Score
from worker.contracts.resources import ChosenBy, IterationSummary, Progress
from worker.contracts.specs import FitSpec
from worker.engine import summary
from worker.engine.choice import CandidateRun, number_of_runs
from worker.engine.config import FitConfig
from worker.engine.recursion import FitState
from worker.runs.checkpoints import Checkpoints, Trail, drop_outdated_checkpoint
from worker.runs.data import columns_of, load_rows, origin_of
from worker.runs.fitted import fitted_summary
from worker.runs.folds import chosen_by_folds, plan_folds, worth_parts
from worker.runs.iterations import Iterations
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack
from worker.training.machine import Machine
from worker.training.model_selection import choose, chosen_options, run_summaries
from worker.training.pipeline import chosen_by, last_solve, model_of, recurse, solver_for
from worker.training.rows import TrainingRows

CHOOSING_SHARE = 0.5
"""Share of the progress that model selection gets, if there is something to select."""
READING_SHARE = 0.02
"""Share of the progress that reading and encoding the rows gets."""
FINAL = "fit"
REASONS: dict[ChosenBy, str] = {
    "validation": "iteration {} is the best",
    "folds": "iteration {} was the best over the folds",
    "leave_one_out": "iteration {} is the best by the error of rows left out",
    "last": "iteration {} is the last, and no row tells whether an earlier one is better",
}
"""The log message about the chosen iteration."""


def fit(
    order: FitOrder,
    artifacts: Artifacts,
    machine: Machine,
    report: Callable[[AnyReport], None],
    *,
    raise_ridge: bool = False,
) -> FitDone | RoundPlanned:
    """Train a model, from the order's checkpoint if it has one. Everything is stored under the order's prefix.

    Folds become parts where the order says so. ``raise_ridge``: a search chose the ridge; if its system cannot be
    solved, a larger ridge replaces it.

    Raises:
        InvalidRequest, DoesNotFit: the rows cannot be learned from, or there is too little memory.
        EngineError: the numerics failed.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    return _Fit(drop_outdated_checkpoint(order, report), artifacts, machine, report, raise_ridge).run()


class _Fit:
    """One run of a fit."""

    def __init__(
        self,
        order: FitOrder,
        artifacts: Artifacts,
        machine: Machine,
        report: Callable[[AnyReport], None],
        raise_ridge: bool,
    ) -> None:
        self._order = order
        self._artifacts = artifacts
        self._machine = machine
        self._report = report
        self._spec = order.request.spec
        # model selection replaces 'auto' options in the order
        self._original_request = order.request.model_dump()
        self._raise_ridge = raise_ridge or self._spec.ridge == "auto"
        self._fit_start = 0.0
        self._shown = Progress()
        self._folds = (order.request.validation.folds or 0) if order.request.validation is not None else 0
        self._checkpoints = Checkpoints(artifacts, order.prefix)
        self._shared_round: int | None = None
        self._seconds: list[float] = []
        self._last_M: torch.Tensor | None = None

    def run(self) -> FitDone | RoundPlanned:
        """Return the stored model, or the round of folds to fit first."""
        state, trail, rows, resumed_fold = None, Trail(), None, None
        checkpoint = self._order.checkpoint
        if isinstance(checkpoint, Checkpoint):
            resumed_fold = checkpoint.fold
            state, trail = self._checkpoints.load(checkpoint, self._machine.device)
            self._log(f"going on from the checkpoint of iteration {state.current.iteration}")
        elif checkpoint is not None:
            self._shared_round = checkpoint.round
            trail = Trail(checkpoint.spec, checkpoint.runs, checkpoint.solver, folds=self._fitted_folds())
        if trail.spec is None:
            rows = self._choose(trail)
        else:
            self._decided(trail.spec, bool(trail.runs))
        config = FitConfig(**self._spec.engine_options(), raise_ridge=self._raise_ridge)
        if self._shared_round is not None:
            folds_ended = self._fraction(-1, config, None)
            if trail.fold <= self._folds:
                return self._plan(trail, self._shared_round, folds_ended)
            self._shown = Progress(fraction=folds_ended)
        while trail.fold <= self._folds:
            resumed = state if resumed_fold == trail.fold else None
            self._run_fold(resumed, config, trail)
        if self._folds:
            config = chosen_by_folds(config, trail.folds)
        if rows is None:
            self._read()
            rows = load_rows(self._order, self._artifacts, fold=None)
        final = self._recurse(rows, config, state if resumed_fold is None else None, trail, FINAL)
        return self._store(rows, config, final, trail)

    def _fitted_folds(self) -> list[list[Score]]:
        """Return the scores of the folds that parts have fitted."""
        outcomes = self._order.outcomes if self._order.round == self._shared_round else []
        return [outcome.result.scores for outcome in outcomes if isinstance(outcome.result, FoldDone)]

    def _plan(self, trail: Trail, number: int, ended: float) -> RoundPlanned:
        assert trail.spec is not None  # noqa: S101 - it was chosen
        checkpoint = FoldsCheckpoint(round=number, spec=trail.spec, runs=trail.runs, solver=trail.solver)
        # progress does not go back, and reading the rows had a share
        begun = max(self._fit_start, READING_SHARE)
        return plan_folds(checkpoint, self._folds, begun, ended)

    def _choose(self, trail: Trail) -> TrainingRows | None:
        """Resolve the spec and store it in the trail. Return the rows of the last fit, None if folds come first."""
        candidates = len(self._spec.candidates())
        expected = number_of_runs(candidates)

        def load(spec: FitSpec) -> TrainingRows:
            self._read()
            rows = load_rows(_with_spec(self._order, spec), self._artifacts, fold=None)
            if candidates > 1:
                self._stage("choosing between ways to fit", READING_SHARE, CHOOSING_SHARE / expected)
            return rows

        def ended(run: CandidateRun, number: int, runs: int) -> None:
            done, following = (CHOOSING_SHARE * min(count, runs) / runs for count in (number, number + 1))
            self._stage(f"choosing between ways to fit ({number} of {runs})", done, following)

        choice = choose(self._spec, load, device=self._machine.device, ended=ended)
        trail.runs = run_summaries(choice.runs)
        solver, trail.solver = solver_for(choice, self._spec.solver, self._machine, refits=self._refits)
        # folds compare ridges better than a part of the rows does; options of blocks are for a solver that is open
        ridge = self._spec.ridge if self._folds else choice.spec.ridge
        trail.spec = choice.spec.model_copy(update={"ridge": ridge, "solver": solver, "blocks": None})
        if trail.runs:
            self._log(
                f"{chosen_options(trail.spec)} and ridge {trail.spec.ridge} did best in {len(trail.runs)} short runs"
            )
        self._decided(trail.spec, bool(trail.runs))
        if not self._folds:
            return choice.rows
        part_seconds, config = self._order.part_seconds, FitConfig(**trail.spec.engine_options())
        if part_seconds is not None and worth_parts(choice.rows, self._folds, config, part_seconds):
            # a beginning that was given up keeps its number, and its parts
            self._shared_round = self._order.round + 1
        return None

    def _log(self, message: str) -> None:
        self._report(LogReport(data=LogData(message=message)))

    def _read(self) -> None:
        done = self._shown.fraction
        self._stage("reading the rows", done, done + READING_SHARE * (1 - done))

    def _stage(self, stage: str, fraction: float, following: float, **also: int | None) -> None:
        """Report the current stage, and the fraction that the next report will have."""
        self._shown = self._shown.model_copy(update={"stage": stage, "fraction": fraction, "eta_seconds": None, **also})
        self._report(ProgressReport(progress=self._shown, next_fraction=following))

    @property
    def _refits(self) -> bool:
        validation = self._order.request.validation
        return self._spec.refit and validation is not None and validation.fraction is not None

    def _decided(self, spec: FitSpec, short_runs: bool) -> None:
        self._spec = spec
        self._order = _with_spec(self._order, spec)
        self._fit_start = CHOOSING_SHARE if short_runs else 0.0

    def _run_fold(self, state: FitState | None, config: FitConfig, trail: Trail) -> None:
        if state is None:
            trail.scores = []
        self._read()
        rows = load_rows(self._order, self._artifacts, fold=trail.fold)
        self._recurse(rows, config, state, trail, f"fold-{trail.fold:02d}")
        trail.folds.append(trail.scores)
        trail.scores, trail.history, trail.matrices = [], [], []

    def _recurse(
        self, rows: TrainingRows, config: FitConfig, state: FitState | None, trail: Trail, stage: str
    ) -> FitState:
        """Run one recursion to its end. Store and report every state, and return the last one."""
        fold = trail.fold if stage != FINAL else None
        seen = Iterations(rows, config, self._machine.device, fold)
        self._last_M = None if state is None else state.current.M
        if state is None or not state.finished:
            before = -1 if state is None else state.current.iteration
            here = self._progress(before, config, fold, ended=False)
            following = self._fraction(before + 1, config, fold)
            reached_before = None if state is None else before
            self._stage(here.stage, here.fraction, following, iteration=reached_before, iterations=config.iterations)
        # the folds have chosen the last iteration
        choose = not (self._folds and stage == FINAL)
        for reached in recurse(rows, config, self._machine, state, choose=choose):
            self._take(reached, config, trail, stage, seen)
            state = reached
        assert state is not None  # noqa: S101 - a recursion yields at least once, or was resumed from a state
        return state

    def _take(self, state: FitState, config: FitConfig, trail: Trail, stage: str, seen: Iterations) -> None:
        current = state.current
        data = seen.data(state)
        self._seconds.append(data.seconds)
        if stage == FINAL:
            self._remember(state, trail, seen.columns, data)
        else:
            trail.scores.append(Score(loss=current.loss or (), ridge=current.ridge, metrics=current.metrics))
        for remark in seen.remarks(state):
            self._report(LogReport(data=remark))
        fold = data.fold
        progress = self._progress(current.iteration, config, fold, ended=state.finished)
        data = data.model_copy(update={"eta_seconds": progress.eta_seconds})
        checkpoint = self._checkpoints.save(stage, state, trail, fold)
        self._shown = progress
        following = progress.fraction if state.finished else self._fraction(current.iteration + 1, config, fold)
        self._report(IterationReport(progress=progress, next_fraction=following, data=data, checkpoint=checkpoint))

    def _remember(
        self, state: FitState, trail: Trail, columns: Mapping[str, Sequence[Any]], data: IterationData
    ) -> None:
        current = state.current
        if trail.history:
            before = trail.history[-1]
            cosine = summary.cosine(self._last_M, current.M) if self._last_M is not None else None
            trail.history[-1] = before.model_copy(update={"cosine_to_next": cosine})
        self._last_M = current.M
        stored = self._checkpoints.save_matrix(FINAL, current.iteration, current.M, trail, columns)
        trail.history.append(
            IterationSummary(
                iteration=current.iteration,
                metrics=current.metrics,
                ridge=current.ridge,
                bandwidth=current.bandwidth,
                seconds=data.seconds,
                trace=float(current.M.sum() if current.M.ndim == 1 else current.M.trace()),
                effective_rank=data.effective_rank,
                matrix=stored,
            )
        )

    def _progress(self, iteration: int, config: FitConfig, fold: int | None, *, ended: bool) -> Progress:
        done, total = self._solves(config.iterations if ended else iteration, config, fold)
        left = max(total - done, 0)
        return Progress(
            iteration=iteration,
            iterations=config.iterations,
            fraction=self._fraction(config.iterations if ended else iteration, config, fold),
            stage="fitting" if fold is None else f"fitting fold {fold} of {self._folds}",
            eta_seconds=sum(self._seconds) / len(self._seconds) * left if self._seconds else None,
        )

    def _fraction(self, iteration: int, config: FitConfig, fold: int | None) -> float:
        done, total = self._solves(iteration, config, fold)
        return min(self._fit_start + (1 - self._fit_start) * done / total, 1.0)

    def _solves(self, iteration: int, config: FitConfig, fold: int | None) -> tuple[int, int]:
        """Return finished and total iterations over all folds and the last fit; the refit counts as one more."""
        each = config.iterations + 1
        before = (fold - 1 if fold is not None else self._folds) * each
        return before + iteration + 1, (self._folds + 1) * each + self._refits

    def _store(self, rows: TrainingRows, config: FitConfig, state: FitState, trail: Trail) -> FitDone:
        if self._refits:
            self._stage("fitting all rows together", self._shown.fraction, 1.0)
        solved = last_solve(rows, config, state.best, self._machine, refits=self._refits)
        if solved.refused is not None:
            message = f"the rows held out did not join the last solve: {solved.refused}"
            self._report(LogReport(data=LogData(level="warning", message=message)))
        best, request = solved.best, self._order.request
        features, targets = (columns_of(self._order, names) for names in (request.features or (), request.targets))
        origin = origin_of(self._order, rows, together=solved.refitted)
        model = model_of(rows, solved, config, features, targets, origin)
        folder = f"models/{self._order.prefix}"
        chosen: ChosenBy = "folds" if self._folds else chosen_by(rows, state.best)
        self._log(f"{REASONS[chosen].format(best.iteration)}; storing the model")
        stored = self._artifacts.put_bytes(f"{folder}/model.safetensors", pack(*model.to_tensors()))
        machine = model.kernel_machine("a fit")
        variances = summary.variances(machine.X, weights=machine.row_weights).tolist()
        content = self._checkpoints.matrices(trail, state.best, variances)
        matrices = self._artifacts.put_bytes(f"{folder}/matrices.safetensors", content)
        made = fitted_summary(self._order, self._original_request, rows, solved, state, trail, chosen)
        return FitDone(model=stored, matrices=matrices, summary=made)


def _with_spec(order: FitOrder, spec: FitSpec) -> FitOrder:
    return order.model_copy(update={"request": order.request.model_copy(update={"spec": spec})})
