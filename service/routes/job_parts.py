"""The pieces of a job that several workers share, and the trials of a search, which are such pieces."""

from fastapi import APIRouter

from service.http.pagination import AfterPart, Id, Limit
from service.http.problems import problems
from service.jobs.trials import trials_of
from service.runtime.context import CurrentContext
from worker.contracts.parts import Part
from worker.contracts.resources import JobState, Page
from worker.contracts.results import Trials
from worker.store import jobs
from worker.store.jobs import parts

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("/{job_id}/parts", responses=problems(404))
def get_parts(
    context: CurrentContext, job_id: Id, state: JobState | None = None, limit: Limit = 50, after: AfterPart = None
) -> Page[Part]:
    """List the parts of a job, in order; none where one worker does all of it."""
    return parts.list_parts(context.database, job_id, state=state, limit=limit, after=after)


@router.get("/{job_id}/trials", responses=problems(404, 409))
def get_trials(context: CurrentContext, job_id: Id) -> Trials:
    """List the trials of a search that have ended, also while it runs or after it failed.

    After it has succeeded its result says the same, with the spec of the best trial.
    """
    return trials_of(context, jobs.get(context.database, job_id))
