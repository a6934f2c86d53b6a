"""The first page, and the queue."""

from fastapi import Request, Response

from service.dashboard.damage import unless_damaged
from service.dashboard.data import upload_hints
from service.dashboard.pages import page_router, render
from service.dashboard.work import predicting
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
    """Show what was learned last, what runs, and where to begin."""
    database = context.database
    recent = jobs.list_page(database, limit=SHOWN).items
    return render(
        request,
        "overview.html",
        models=[(model, *_top(context, model)) for model in models.list_page(database, limit=SHOWN_MODELS).items],
        jobs=recent,
        names=predicting(context, recent),
        datasets=datasets.list_page(database, limit=SHOWN).items,
        counts=jobs.counts(database),
        **upload_hints(context.settings),
    )


@router.get("/queue")
def queue(context: CurrentContext, request: Request) -> Response:
    """Show what waits and what runs where. Queues of other projects are for the scope admin."""
    caller = getattr(request.state, "caller", ANYBODY)
    seen = context.database.for_project(None) if caller.may(Scope.ADMIN) else context.database
    running = workload.running(context.database)
    return render(
        request,
        "queue.html",
        now=context.now(),
        counts=jobs.counts(context.database),
        running=running,
        names=predicting(context, [one.job for one in running]),
        waiting=workload.waiting(seen),
    )


def _top(context: Context, model: Model) -> tuple[list[FeatureShare] | None, bool]:
    """Return the columns that matter most to a model, and whether it learned anything of them.

    None where its matrix is lost or damaged.
    """
    try:
        source = feature_matrix.of_model(context, models.get(context.database, model.id))
        learned = unless_damaged(lambda: feature_matrix.load(source))
    except NotFound:
        # it was deleted while the page was made
        return [], True
    if learned is None:
        return None, True
    return feature_matrix.importance(learned)[:TOP], feature_matrix.learned_something(learned)
