"""The run kind ``fold``: one fold of a cross-validation, fitted and scored. It is a part of a ``fit`` job."""

from collections.abc import Callable

from worker.contracts.events import IterationData, LogData
from worker.contracts.messages import AnyReport, FitOrder, FoldOrder, PartDone, ProgressReport
from worker.contracts.parts import FoldDone, Score
from worker.contracts.resources import Progress
from worker.engine.config import FitConfig
from worker.runs.data import load_rows
from worker.runs.iterations import Iterations
from worker.store.files.artifacts import Artifacts
from worker.training.machine import Machine
from worker.training.pipeline import recurse


def fold(order: FoldOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]) -> PartDone:
    """Run the recursion of a fold to its end, and return its scores.

    Raises:
        InvalidRequest, DoesNotFit: the rows cannot be learned from, or there is too little memory.
        EngineError: the numerics failed.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    request, work = order.request, order.work
    config = FitConfig(**work.spec.engine_options(), raise_ridge=request.spec.ridge == "auto")
    each = 1 / (config.iterations + 1)
    report(ProgressReport(progress=Progress(stage="fitting a fold"), next_fraction=each))
    fitted = FitOrder(
        **order.model_dump(include={"job", "attempt", "origin", "prefix", "task", "table", "validation"}),
        request=request.model_copy(update={"spec": work.spec}),
    )
    rows = load_rows(fitted, artifacts, work.fold)
    seen = Iterations(rows, config, machine.device, work.fold)
    scores: list[Score] = []
    events: list[IterationData | LogData] = []
    for state in recurse(rows, config, machine):
        current = state.current
        scores.append(Score(loss=current.loss or (), ridge=current.ridge, metrics=current.metrics))
        events += [*seen.remarks(state), seen.data(state)]
        progress = Progress(
            stage="fitting a fold",
            iteration=current.iteration,
            iterations=config.iterations,
            fraction=min(len(scores) * each, 1.0),
        )
        report(ProgressReport(progress=progress, next_fraction=min((len(scores) + 1) * each, 1.0)))
    return PartDone(result=FoldDone(scores=scores, events=events))
