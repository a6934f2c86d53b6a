"""The trials of a search."""

from fastapi import APIRouter

from service.http.pagination import Id
from service.http.problems import problems
from service.jobs.trials import trials_of
from service.runtime.context import CurrentContext
from worker.contracts.results import Trials
from worker.store import jobs

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("/{job_id}/trials", responses=problems(404, 409))
def get_trials(context: CurrentContext, job_id: Id) -> Trials:
    """List the trials of a search that have ended, also while it runs or after it failed.

    After it has succeeded its result says the same, with the spec of the best trial.
    """
    return trials_of(context, jobs.get(context.database, job_id))
