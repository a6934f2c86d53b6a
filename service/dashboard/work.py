"""Pages of jobs and batches."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args

from fastapi import Query, Request, Response

from service.dashboard.fields import BLOCKS_GROUPS, FIT_GROUPS, NETWORK_GROUPS, grouped
from service.dashboard.pages import page_router, render
from service.dashboard.search_space import meanings, space_form
from service.http.pagination import AfterBatch, AfterJob
from service.jobs.trials import trials_of
from service.runtime.context import Context, CurrentContext
from worker.contracts.base import ColumnType
from worker.contracts.errors import NotFound
from worker.contracts.requests import FitRequest, NetworkRequest, TuneRequest
from worker.contracts.resources import FINAL_STATES, Job, JobKind, JobState
from worker.contracts.search import Search
from worker.contracts.specs import Blocks, FitSpec, NetworkSpec
from worker.store import datasets, jobs, models
from worker.store.jobs import batches, parts

router = page_router()

PAGE = 50
MAX_PIECES = 2000
"""Parts of a job that its page draws."""
REQUESTS = {request.model_fields["kind"].default: request for request in (FitRequest, TuneRequest, NetworkRequest)}
"""Requests that have a form, by the kind of job."""
ONLY_OF = {"agop_power": "nfa", "center_gradients": "nfa", "geometric_average": "fact"}
"""Options that only one update allows."""


@router.get("/jobs")
def list_jobs(
    context: CurrentContext,
    request: Request,
    state: JobState | None = None,
    kind: JobKind | None = None,
    after: AfterJob = None,
) -> Response:
    """List jobs, newest first."""
    page = jobs.list_page(context.database, state=state, kind=kind, limit=PAGE, after=after)
    return render(request, "jobs.html", page=page, state=state, kind=kind, names=model_names(context, page.items))


@router.get("/jobs/new")
def new_job(
    context: CurrentContext,
    request: Request,
    dataset: Annotated[str | None, Query(max_length=100)] = None,
    kind: str = "fit",
    like: Annotated[str | None, Query(max_length=100)] = None,
    update: str | None = None,
) -> Response:
    """Show the form of a job: for a dataset, or filled ``like`` an earlier job, maybe with another ``update``."""
    previous: dict[str, Any] = {}
    if like is not None:
        previous = jobs.get(context.database, like).request
        kind, dataset = previous["kind"], previous["dataset"]
        previous = {**previous, "spec": _updated(previous["spec"], update)}
    if dataset is None:
        return render(request, "choose.html", page=datasets.list_page(context.database, limit=PAGE))
    previous_space = previous.get("search", {}).get("space")
    space = space_form(previous_space) if kind == "tune" else []
    kind = kind if kind in REQUESTS else "fit"
    spec, groups = (NetworkSpec, NETWORK_GROUPS) if REQUESTS[kind] is NetworkRequest else (FitSpec, FIT_GROUPS)
    of_spec = previous.get("spec", {})
    of_blocks = grouped(Blocks, "/spec/blocks", BLOCKS_GROUPS, of_spec.get("blocks") or {}) if kind == "fit" else {}
    return render(
        request,
        "new_job.html",
        dataset=datasets.get(context.database, dataset),
        others=[other for other in datasets.list_page(context.database, limit=PAGE).items if other.id != dataset],
        kind=kind,
        previous=previous,
        types=get_args(ColumnType),
        groups=grouped(spec, "/spec", groups, of_spec) | of_blocks,
        search=grouped(Search, "/search", {"search": ("trials", "seed")}, previous.get("search", {}))["search"],
        explained={name: field.description for name, field in FitRequest.model_fields.items()},
        space=space,
        space_says=Search.model_fields["space"].description,
        meanings=meanings(space),
        usual_space=previous_space is None,
        tune_says=TuneRequest.__doc__,
    )


@router.get("/jobs/{job_id}")
def show_job(context: CurrentContext, request: Request, job_id: str) -> Response:
    """Show a job: progress, result and request."""
    job = jobs.get(context.database, job_id)
    trials = trials_of(context, job) if job.kind == "tune" else None
    return render(
        request,
        "job.html",
        job=job,
        names=model_names(context, [job]),
        final=job.state in FINAL_STATES,
        dataset=_name_of(context, job.dataset),
        model=_model_of(context, job),
        pieces=parts.list_parts(context.database, job_id, limit=MAX_PIECES).items,
        trials=[] if trials is None else trials.trials,
        best=None if trials is None else trials.best,
    )


@router.get("/batches")
def list_batches(context: CurrentContext, request: Request, after: AfterBatch = None) -> Response:
    """List batches, newest first."""
    return render(request, "batches.html", page=batches.list_page(context.database, limit=PAGE, after=after))


@router.get("/batches/{batch_id}")
def show_batch(context: CurrentContext, request: Request, batch_id: str) -> Response:
    """Show the jobs of a batch as a table, with the options in which they differ."""
    batch = batches.get(context.database, batch_id)
    members = jobs.list_page(context.database, batch=batch_id, limit=max(batch.total, 1)).items[::-1]
    options = [flatten(job.request) for job in members]
    names = [name for name in dict.fromkeys(name for entries in options for name in entries) if name != "model"]
    varied = [name for name in names if len({str(entries.get(name)) for entries in options}) > 1]
    metrics = sorted({name for job in members for name in job.metrics}, reverse=True)
    return render(
        request,
        "batch.html",
        batch=batch,
        rows=list(zip(members, options, strict=True)),
        varied=varied,
        metrics=metrics,
        names=model_names(context, members),
        chose=any(job.validation_chose or job.left_out_chose for job in members),
    )


def model_names(context: Context, shown_jobs: Sequence[Job]) -> dict[str, str]:
    """Return the names, by id, of the models of predict jobs."""
    return models.names(context.database, [job.model for job in shown_jobs if job.kind == "predict" and job.model])


def flatten(document: dict[str, Any]) -> dict[str, Any]:
    """Return a nested document as one mapping with dotted keys."""
    entries: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            entries |= {f"{name}.{inner}": entry for inner, entry in flatten(value).items()}
        else:
            entries[name] = value
    return entries


def _updated(spec: dict[str, Any], update: str | None) -> dict[str, Any]:
    """Return the spec with another update, without options that it does not allow."""
    if update is None:
        return spec
    return {
        **{name: value for name, value in spec.items() if ONLY_OF.get(name, update) == update},
        "update": update,
    }


def _name_of(context: CurrentContext, dataset_id: str) -> str:
    try:
        return datasets.get(context.database, dataset_id).name
    except NotFound:
        return f"{dataset_id} (deleted)"


def _model_of(context: CurrentContext, job: Job) -> Any:
    try:
        return None if job.model is None else models.get(context.database, job.model).resource
    except NotFound:
        return None
