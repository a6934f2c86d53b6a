"""What a fit says of the model that it ends with."""

from collections.abc import Mapping
from typing import Any

from worker.contracts.messages import FitOrder
from worker.contracts.resources import ChosenBy
from worker.contracts.resources.fitted import FittedModelSummary
from worker.contracts.validation import left_out_chose, validation_chose
from worker.engine.recursion import FitState
from worker.runs.checkpoints import Trail
from worker.runs.data import columns_of, unread_by
from worker.runs.folds import figures_of_folds
from worker.training.machine import versions
from worker.training.pipeline import LastSolve
from worker.training.rows import TrainingRows


def fitted_summary(
    order: FitOrder,
    asked: Mapping[str, Any],
    rows: TrainingRows,
    solved: LastSolve,
    state: FitState,
    trail: Trail,
    chosen: ChosenBy,
) -> FittedModelSummary:
    """Return the content of the model's row. ``asked``: the request before 'auto' was settled.

    ``state``: the last one of the recursion; ``chosen``: what told its best iteration, which ``solved`` solves.
    """
    best, request = solved.best, order.request
    features, targets = (columns_of(order, names) for names in (request.features or (), request.targets))
    history = [
        line.model_copy(update={"matrix": True}) if line.iteration == best.iteration else line for line in trail.history
    ]
    return FittedModelSummary(
        task=order.task,
        classes=rows.classes,
        features=features,
        targets=targets,
        encoded_names=list(rows.encoder.names),
        encoded_sources=list(rows.encoder.sources),
        spec=request.spec.model_dump(mode="json"),
        metrics=best.metrics,
        validation=figures_of_folds(trail.folds, best.iteration),
        chosen_by=chosen,
        validation_chose=validation_chose(asked),
        left_out_chose=left_out_chose(asked, best.metrics),
        iteration=best.iteration,
        iterations=state.current.iteration,
        ridge=best.ridge,
        bandwidth=best.bandwidth,
        precision=str(best.alpha.dtype).removeprefix("torch."),
        solver=trail.solver,
        refitted=solved.refitted,
        choices=trail.runs,
        training_rows=len(solved.X),
        dropped=rows.dropped,
        left_out=unread_by(order),
        weights=request.weights,
        class_weight=request.class_weight,
        weightless_rows=rows.weightless,
        history=history,
        versions=versions(),
    )
