"""Pages of jobs and batches."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response

from service.dashboard.fields import FIT_GROUPS, NETWORK_GROUPS, grouped
from service.dashboard.pages import page_router, render
from service.dashboard.search_space import meanings, searched
from service.http.pagination import AfterBatch, AfterJob
from service.jobs.trials import trials_of
from service.runtime.context import Context, CurrentContext
from worker.contracts.errors import NotFound
from worker.contracts.requests import FitRequest, TuneRequest
from worker.contracts.resources import FINAL_STATES, Job, JobKind, JobState
from worker.contracts.search import Search
from worker.contracts.specs import FitSpec, NetworkSpec
from worker.store import datasets, jobs, models
from worker.store.jobs import batches

router = page_router()

PAGE = 50
ONLY_OF = {"agop_power": "nfa", "center_gradients": "nfa", "geometric_average": "fact"}
"""Options of the spec that go with one update alone."""


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
    return render(request, "jobs.html", page=page, state=state, kind=kind, names=predicting(context, page.items))


@router.get("/jobs/new")
def new_job(
    context: CurrentContext,
    request: Request,
    dataset: Annotated[str | None, Query(max_length=100)] = None,
    kind: str = "fit",
    like: Annotated[str | None, Query(max_length=100)] = None,
    update: str | None = None,
) -> Response:
    """Show the form of a job: on a dataset, or ``like`` an earlier job with perhaps another ``update``."""
    given: dict[str, Any] = {}
    if like is not None:
        given = jobs.get(context.database, like).request
        kind, dataset = given["kind"], given["dataset"]
        given = {**given, "spec": _updated(given["spec"], update)}
    if dataset is None:
        return render(request, "choose.html", page=datasets.list_page(context.database, limit=PAGE))
    given_space = given.get("search", {}).get("space")
    space = searched(given_space) if kind == "tune" else []
    network = kind == "network"
    contract, groups = (NetworkSpec, NETWORK_GROUPS) if network else (FitSpec, FIT_GROUPS)
    return render(
        request,
        "new_job.html",
        dataset=datasets.get(context.database, dataset),
        others=[one for one in datasets.list_page(context.database, limit=PAGE).items if one.id != dataset],
        kind=kind if kind in ("tune", "network") else "fit",
        given=given,
        groups=grouped(contract, "/spec", groups, given.get("spec", {})),
        search=grouped(Search, "/search", {"search": ("trials", "seed")}, given.get("search", {}))["search"],
        explained={name: field.description for name, field in FitRequest.model_fields.items()},
        space=space,
        space_says=Search.model_fields["space"].description,
        meanings=meanings(space),
        usual_space=given_space is None,
        tune_says=TuneRequest.__doc__,
    )


@router.get("/jobs/{job_id}")
def show_job(context: CurrentContext, request: Request, job_id: str) -> Response:
    """Show a job: how far it is, what came of it, what it was asked."""
    job = jobs.get(context.database, job_id)
    found = trials_of(context, job) if job.kind == "tune" else None
    return render(
        request,
        "job.html",
        job=job,
        names=predicting(context, [job]),
        final=job.state in FINAL_STATES,
        dataset=_name_of(context, job.dataset),
        model=_model_of(context, job),
        trials=[] if found is None else found.trials,
        best=None if found is None else found.best,
    )


@router.get("/batches")
def list_batches(context: CurrentContext, request: Request, after: AfterBatch = None) -> Response:
    """List batches, newest first."""
    return render(request, "batches.html", page=batches.list_page(context.database, limit=PAGE, after=after))


@router.get("/batches/{batch_id}")
def show_batch(context: CurrentContext, request: Request, batch_id: str) -> Response:
    """Show the jobs of a batch as a table, with what they were asked differently."""
    batch = batches.get(context.database, batch_id)
    found = jobs.list_page(context.database, batch=batch_id, limit=max(batch.total, 1)).items[::-1]
    asked = [flat(job.request) for job in found]
    names = [name for name in dict.fromkeys(name for one in asked for name in one) if name != "model"]
    varied = [name for name in names if len({str(one.get(name)) for one in asked}) > 1]
    metrics = sorted({name for job in found for name in job.metrics}, reverse=True)
    return render(
        request,
        "batch.html",
        batch=batch,
        rows=list(zip(found, asked, strict=True)),
        varied=varied,
        metrics=metrics,
        names=predicting(context, found),
        chose=any(job.validation_chose or job.left_out_chose for job in found),
    )


def predicting(context: Context, found: Sequence[Job]) -> dict[str, str]:
    """Return the names of the models by which jobs predict."""
    return models.names(context.database, [job.model for job in found if job.kind == "predict" and job.model])


def flat(document: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a request, those of inner objects by dotted path."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        else:
            found[name] = value
    return found


def _updated(spec: dict[str, Any], update: str | None) -> dict[str, Any]:
    """Return the spec with another update, and without what the other one cannot have."""
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
