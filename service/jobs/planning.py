"""From a request to what it would run: checked against the data, every default resolved, its cost estimated."""

from dataclasses import dataclass
from typing import Any

from service.jobs.lookups import Lookups
from service.runtime.context import Context
from worker.contracts.base import Task
from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import AnyRequest, FitRequest, NetworkRequest, PredictRequest, TableRequest, TuneRequest
from worker.contracts.resources import DryRun
from worker.contracts.search import SearchOption
from worker.tables import schema
from worker.training import search_space

Training = FitRequest | TuneRequest | NetworkRequest


@dataclass(frozen=True)
class Plan:
    """A request that was checked against its data, with nothing left to resolve."""

    request: AnyRequest
    dry_run: DryRun
    datasets: list[str]
    model_id: str | None = None


def plan(context: Context, request: AnyRequest, lookups: Lookups | None = None) -> Plan:
    """Return what ``request`` would run. ``lookups``: what other jobs of the same batch have looked up.

    Raises:
        InvalidRequest: the request and the data do not go together; pointers say where.
    """
    lookups = lookups or Lookups(context)
    if isinstance(request, PredictRequest):
        return _plan_predict(lookups, request)
    return _plan_training(lookups, request, context.settings.max_encoded_columns)


def _plan_training(lookups: Lookups, request: Training, most: int) -> Plan:
    table = lookups.table(request.dataset, "/dataset")
    rows = table.dataset.rows
    choice = lookups.choice(request, table)
    task = schema.resolve_task(request.task, choice.targets)
    resolved = _resolved(request, choice.names, task)
    wide, told = choice.width(True), []
    if wide > most and _leaves_encoding(resolved):
        resolved = _plain(resolved)
        told = [f"encoding 'expanded' would make {wide} columns, and at most {most} are allowed: it is not tried"]
    expanded = _may_expand(resolved)
    schema.check_rows(request, rows)
    choice.check(task, most, expanded)
    held_out = None
    used = [table.dataset.id]
    if request.validation is not None and request.validation.dataset is not None:
        other = lookups.table(request.validation.dataset, "/validation/dataset")
        choice.check_validation(other)
        held_out = other.dataset.rows
        used.append(other.dataset.id)
    width = choice.width(expanded)
    outputs = choice.targets[0].distinct if task == "classification" else len(choice.targets)
    fitted, scored = _split(request, rows, held_out)
    from worker.training import cost as estimates  # torch with it: see service.runtime.predictor

    cost = estimates.training(resolved, fitted, width, outputs, scored, plain=choice.width(False))
    return Plan(
        resolved,
        DryRun(
            request=resolved.model_dump(mode="json"),
            task=task,
            rows=rows,
            encoded_columns=width,
            outputs=outputs,
            estimate=cost,
            remarks=told + choice.remarks(expanded),
        ),
        used,
    )


def _resolved(request: Training, features: list[str], task: Task) -> Training:
    """Return the request with nothing left to resolve.

    Raises:
        InvalidRequest: the space of a search, or the loss of a network, cannot be.
    """
    changes: dict[str, Any] = {"task": task, "features": features, "exclude": []}
    if isinstance(request, NetworkRequest):
        _check_loss(request, task)
    elif isinstance(request, TuneRequest):
        found = search_space.resolve(request.spec, request.search.space)
        spec = search_space.left_open(request.spec.resolved(), found)
        changes |= {"spec": spec, "search": request.search.model_copy(update={"space": found})}
    else:
        changes["spec"] = request.spec.resolved()
    return request.model_copy(update=changes)


def _leaves_encoding(request: Training) -> bool:
    """Return whether the expanded encoding is only one of those that the request may come upon."""
    if isinstance(request, TuneRequest) and "encoding" in (request.search.space or {}):
        return {"plain", "expanded"} <= {*(request.search.space or {})["encoding"].corners}
    return request.spec.encoding == "auto"


def _plain(request: Training) -> Training:
    """Return the request without the expanded encoding."""
    changes: dict[str, Any] = {"spec": request.spec.model_copy(update={"encoding": "plain"})}
    if isinstance(request, TuneRequest) and "encoding" in (request.search.space or {}):
        found = {**(request.search.space or {}), "encoding": SearchOption(choices=["plain"])}
        changes["search"] = request.search.model_copy(update={"space": found})
    return request.model_copy(update=changes)


def _may_expand(request: Training) -> bool:
    """Return whether some of the rows' encodings that the request may come upon is the expanded one."""
    tried = (request.search.space or {}).get("encoding") if isinstance(request, TuneRequest) else None
    return bool({"expanded", "auto"} & {request.spec.encoding, *(tried.corners if tried is not None else ())})


def _check_loss(request: NetworkRequest, task: Task) -> None:
    if request.spec.loss == "cross_entropy" and task == "regression":
        raise InvalidRequest.at("/spec/loss", "cross_entropy is for a classification; a regression has loss 'squared'")


def _plan_predict(lookups: Lookups, request: PredictRequest) -> Plan:
    model = lookups.model(request.model)
    table = lookups.table(request.dataset, "/dataset")
    dataset = table.dataset
    lookups.check_predict(model, table)
    outputs = len(model.classes) if model.classes is not None else len(model.targets)
    resolved = request.model_copy(update={"model": model.id})
    from worker.training import cost as estimates  # torch with it: see service.runtime.predictor

    cost = estimates.prediction(model, dataset.rows)
    return Plan(
        resolved,
        DryRun(
            request=resolved.model_dump(mode="json"),
            task=model.task,
            rows=dataset.rows,
            encoded_columns=model.encoded_features,
            outputs=outputs,
            estimate=cost,
        ),
        [dataset.id],
        model.id,
    )


def _split(request: TableRequest, rows: int, held_out: int | None) -> tuple[int, int]:
    """Return how many rows train at most and how many validate."""
    if held_out is not None:
        return rows, held_out
    if request.validation is None or request.validation.folds is not None:
        return rows, 0
    scored = max(1, round(rows * (request.validation.fraction or 0.0)))
    return rows - scored, scored
