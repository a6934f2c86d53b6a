"""The start page, and the page of the queue."""

from fastapi import Request, Response

from service.dashboard.damage import unless_damaged
from service.dashboard.data import upload_hints
from service.dashboard.pages import page_router, render
from service.dashboard.work import model_names
from service.http.caller import ANYBODY
from service.models import feature_matrix
from service.runtime.context import Context, CurrentContext
from worker.contracts.errors import NotFound
from worker.contracts.keys import Scope
from worker.contracts.resources import FeatureShare, Model
from worker.store import datasets, jobs, models
from worker.store.jobs import workload

router = page_router()

SHOWN_MODELS = 4
SHOWN = 6
TOP = 5


@router.get("/")
def overview(context: CurrentContext, request: Request) -> Response:
    """Show recent models, jobs and datasets."""
    database = context.database
    recent = jobs.list_page(database, limit=SHOWN).items
    return render(
        request,
        "overview.html",
        models=[(model, *_top(context, model)) for model in models.list_page(database, limit=SHOWN_MODELS).items],
        jobs=recent,
        names=model_names(context, recent),
        datasets=datasets.list_page(database, limit=SHOWN).items,
        counts=jobs.counts(database),
        **upload_hints(context.settings),
    )


@router.get("/queue")
def queue(context: CurrentContext, request: Request) -> Response:
    """Show waiting and running jobs. Queues of other projects need the scope admin."""
    caller = getattr(request.state, "caller", ANYBODY)
    database = context.database.for_project(None) if caller.may(Scope.ADMIN) else context.database
    running = workload.running(context.database)
    return render(
        request,
        "queue.html",
        now=context.now(),
        counts=jobs.counts(context.database),
        running=running,
        names=model_names(context, [entry.job for entry in running]),
        waiting=workload.waiting(database),
    )


def _top(context: Context, model: Model) -> tuple[list[FeatureShare] | None, bool]:
    """Return the most important columns of a model, and whether it learned anything about them.

    The columns are None where its matrix is lost or damaged.
    """
    try:
        source = feature_matrix.of_model(context, models.get(context.database, model.id))
        learned = unless_damaged(lambda: feature_matrix.load(source))
    except NotFound:
        # deleted meanwhile
        return [], True
    if learned is None:
        return None, True
    return feature_matrix.importance(learned)[:TOP], feature_matrix.learned_something(learned)
