"""Plans of jobs: requests checked against their data, with defaults resolved and the cost estimated."""

from dataclasses import dataclass

from service.jobs.lookups import LookupCache
from service.runtime.context import Context
from worker.contracts.requests import AnyRequest, FitRequest, NetworkRequest, PredictRequest
from worker.contracts.resources import DryRun
from worker.tables import schema
from worker.tables.split_columns import marked, split_column
from worker.training.resolve import (
    Training,
    by_blocks,
    check_leaves,
    check_solver,
    joined,
    leaves_encoding,
    may_expand,
    resolve,
    split_sizes,
    without_expanded,
)


@dataclass(frozen=True)
class Plan:
    """A request that was checked against its data, with all defaults resolved."""

    request: AnyRequest
    dry_run: DryRun
    datasets: list[str]
    model_id: str | None = None


def plan(context: Context, request: AnyRequest, cache: LookupCache | None = None) -> Plan:
    """Return the plan of ``request``. ``cache``: shared by the jobs of a batch.

    Raises:
        InvalidRequest: the request does not fit the data.
    """
    cache = cache or LookupCache(context)
    if isinstance(request, PredictRequest):
        return _plan_predict(cache, request)
    return _plan_training(cache, request, context)


def _plan_training(cache: LookupCache, request: Training, context: Context) -> Plan:
    settings = context.settings
    limit = settings.max_encoded_columns
    table = cache.table(request.dataset, "/dataset")
    selection = cache.selection(request, table)
    dropped = schema.rows_without_target(selection.targets)
    rows = table.dataset.rows - dropped
    task = schema.resolve_task(request.task, selection.targets)
    resolved = resolve(request, selection.names, task)
    wide, notes = selection.width(True), []
    if wide > limit and leaves_encoding(resolved):
        resolved = without_expanded(resolved)
        notes = [f"encoding 'expanded' would make {wide} columns, and at most {limit} are allowed: it is not tried"]
    expanded = may_expand(resolved)
    schema.check_rows(request, table.dataset.rows)
    selection.check(task, limit, expanded, request.missing_target)
    selection.check_cells(context.artifacts)
    check_solver(request)
    selection.check_weights(context.artifacts, request, task)
    if dropped:
        schema.check_rows(request, rows, dropped)
    splits_by = split_column(request.validation, request.targets, table.columns, table.dataset.rows, dropped)
    notes += schema.missing_target_notes(selection.targets, table.dataset.rows)
    held_out = None
    dataset_ids = [table.dataset.id]
    if request.validation is not None and request.validation.dataset is not None:
        other = cache.table(request.validation.dataset, "/validation/dataset")
        selection.check_validation(other, request.missing_target)
        judging = [other.columns[target.name] for target in selection.targets]
        held_out = other.dataset.rows - schema.rows_without_target(judging)
        notes += schema.missing_target_notes(judging, other.dataset.rows, "validation rows")
        if request.weights is not None and request.weights not in other.columns:
            notes.append(f"the validation dataset has no column {request.weights!r}: each of its rows counts once")
        dataset_ids.append(other.dataset.id)
    width = selection.width(expanded)
    outputs = selection.targets[0].distinct if task == "classification" else len(selection.targets)
    if splits_by is not None and request.validation is not None and request.validation.column is not None:
        scored = min(marked(splits_by, table.dataset.rows), rows - 1)
        fitted = rows - scored
    else:
        fitted, scored = split_sizes(request, rows, held_out)
    trained = fitted + (scored if joined(resolved) else 0)
    asked, resolved = resolved, by_blocks(resolved, trained, settings.blocks_rows)
    notes += _solver_notes(asked, resolved, trained, settings.blocks_rows)
    check_leaves(resolved, fitted)
    from worker.training import cost as estimates  # imports torch: see service.runtime.predictor

    cost = estimates.training(resolved, fitted, width, outputs, scored, plain=selection.width(False))
    return Plan(
        resolved,
        DryRun(
            request=resolved.model_dump(mode="json"),
            task=task,
            rows=table.dataset.rows,
            dropped_rows=dropped,
            left_out=selection.left_out,
            encoded_columns=width,
            outputs=outputs,
            estimate=cost,
            remarks=notes + selection.warnings(expanded),
        ),
        dataset_ids,
    )


def _solver_notes(asked: Training, resolved: Training, rows: int, most: int) -> list[str]:
    """Return what is to know of how so many training rows are solved; more than ``most`` are by blocks by default."""
    if resolved is not asked:
        return [f"{rows} training rows are more than {most}: they are fitted by blocks"]
    if isinstance(resolved, NetworkRequest) or resolved.spec.solver == "blocks":
        return []
    if rows > most:
        return [
            f"all {rows} training rows are solved at once, which may take hours: only a fit without folds or weights, "
            "and with solver 'auto' or 'blocks', goes by blocks, and none with encoding 'statistics'"
        ]
    if isinstance(resolved, FitRequest) and resolved.spec.blocks is not None:
        if resolved.weighs:
            return ["rows have weights: all are solved at once, and /spec/blocks has no effect"]
        return [
            f"{rows} training rows are not more than {most}: they are solved at once, and /spec/blocks has no effect "
            "without solver 'blocks'"
        ]
    return []


def _plan_predict(cache: LookupCache, request: PredictRequest) -> Plan:
    model = cache.model(request.model)
    table = cache.table(request.dataset, "/dataset")
    dataset = table.dataset
    cache.check_predict(model, table)
    schema.check_kept(request.keep, table.columns)
    outputs = len(model.classes) if model.classes is not None else len(model.targets)
    resolved = request.model_copy(update={"model": model.id})
    from worker.training import cost as estimates  # imports torch: see service.runtime.predictor

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
