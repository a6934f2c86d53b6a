"""Which rows selected the iteration and the options of a model: the metrics of these rows are optimistic.

Validation rows select; without them the training rows do, each left out of the solve in turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.contracts.resources import ChosenBy, Job, Model
from worker.contracts.specs import AUTO_CANDIDATES

PREFIX = "validation_"
LEFT_OUT_PREFIX = "leave_one_out_"
OPTIMISTIC = "so their figures are a little too good"
ROWS_OF: dict[ChosenBy, str] = {
    "validation": "on the validation rows",
    "folds": "on the rows held out, averaged over the folds",
    "leave_one_out": "on the training rows, each left out of the solve in turn",
}
LEADING = (
    "validation_accuracy",
    "validation_rmse",
    "leave_one_out_accuracy",
    "leave_one_out_rmse",
    "train_accuracy",
    "train_rmse",
)
"""From the first choice to the last of the metric that stands for all."""


def validation_chose(request: Mapping[str, Any]) -> list[str]:
    """Return the options that validation rows select in a job; ``request`` has every default resolved.

    Empty for a network, whose validation rows select nothing, for a prediction, and for a fit without validation.
    """
    return _chosen(request) if request.get("validation") is not None else []


def left_out_chose(request: Mapping[str, Any], metrics: Iterable[str]) -> list[str]:
    """Return the options that leave-one-out errors select in a job without validation rows.

    ``metrics``: names of the job's metrics so far. Without leave-one-out metrics nothing is selected.
    """
    left_out = request.get("validation") is None and _any_begins(metrics, LEFT_OUT_PREFIX)
    return _chosen(request) if left_out else []


def _chosen(request: Mapping[str, Any]) -> list[str]:
    if request.get("kind") not in ("fit", "tune"):
        return []
    spec = request["spec"]
    searched = (request.get("search") or {}).get("space") or {}
    chosen = [name for name in (*AUTO_CANDIDATES, "ridge") if spec.get(name) == "auto" or name in searched]
    chosen += [name for name in searched if name not in chosen]
    update_is_learned = spec.get("update") != "none" or "update" in searched
    if update_is_learned and (spec.get("iterations", 0) > 0 or "iterations" in searched):
        chosen = [*(name for name in chosen if name != "iterations"), "iteration"]
    return chosen


def validation_chose_before(
    metrics: Iterable[str], spec: Mapping[str, Any], short_runs: Sequence[Mapping[str, Any]], iterations: int
) -> list[str]:
    """Return the same for a model of an older version, as far as its row shows.

    ``short_runs``: the short runs that selected its options.
    """
    if not _any_begins(metrics, PREFIX):
        return []
    chosen = _settled(spec, short_runs)
    return [*chosen, "iteration"] if iterations > 0 else chosen


def left_out_chose_before(
    metrics: Iterable[str], spec: Mapping[str, Any], short_runs: Sequence[Mapping[str, Any]], chosen_by: ChosenBy | None
) -> list[str]:
    """Return the same for leave-one-out errors."""
    if not _any_begins(metrics, LEFT_OUT_PREFIX):
        return []
    chosen = _settled(spec, short_runs)
    return [*chosen, "iteration"] if chosen_by == "leave_one_out" else chosen


def _settled(spec: Mapping[str, Any], short_runs: Sequence[Mapping[str, Any]]) -> list[str]:
    chosen = [name for name in AUTO_CANDIDATES if len({run.get(name) for run in short_runs}) > 1]
    return [*chosen, "ridge"] if short_runs or spec.get("ridge") == "auto" else chosen


def how_chosen(model: Model) -> str:
    """Return a sentence that says which rows and which metric selected the iteration of a model."""
    if model.iterations == 0 and not (model.chosen_by == "folds" and "iteration" in model.validation_chose):
        return "Iteration 0 is the only one that ran, so there was nothing to choose."
    which = f"Iteration {model.iteration} of {model.iterations}"
    if model.chosen_by == "last":
        return f"{which} is the last: without validation rows, nothing tells whether an earlier one is better."
    if model.chosen_by is None:
        rows = " the validation rows in" if "iteration" in model.validation_chose else ""
        return f"{which} was chosen by{rows} an older version, which did not record by which figure."
    if model.chosen_by == "folds":
        # the last fit ends at the iteration that the folds chose
        which = f"Iteration {model.iteration}"
    return f"{which} was chosen: it has the least {_figure(model)} {ROWS_OF[model.chosen_by]}."


def _figure(model: Model) -> str:
    """Return the name of the loss that selects the iteration; see worker.engine.targets."""
    if model.task == "classification":
        return "Brier score"
    return "mean squared error" if len(model.targets) == 1 else "mean squared error of the standardised targets"


def also_chose(name: str, model: Model) -> bool:
    """Return whether a metric is of rows that also selected options."""
    chosen = {PREFIX: model.validation_chose, LEFT_OUT_PREFIX: model.left_out_chose}
    return any(chose and name.startswith(prefix) for prefix, chose in chosen.items())


def selection_notes(record: Model | Job) -> list[str]:
    """Return a sentence for each kind of rows that also selected options."""
    notes = []
    if record.validation_chose:
        notes.append(f"Validation rows also chose {in_words(record.validation_chose)}, {OPTIMISTIC}.")
    if record.left_out_chose:
        notes.append(f"Training rows, left out in turn, also chose {in_words(record.left_out_chose)}, {OPTIMISTIC}.")
    return notes


def leading_metric(metrics: Mapping[str, float]) -> str:
    """Return the leading metric in words with its value, such as "validation rmse 0.31"; without any an empty text."""
    name = next((metric for metric in LEADING if metric in metrics), None)
    return "" if name is None else f"{name.replace('_', ' ')} {metrics[name]:.4g}"


def _any_begins(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def in_words(chosen: Sequence[str]) -> str:
    """Return option names for a sentence: the ridge, the bandwidth factor and the iteration."""
    names = [f"the {name.replace('_', ' ')}" for name in chosen]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
