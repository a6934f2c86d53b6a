"""The trials of a search, read from its events, also while it runs."""

from collections.abc import Sequence

from service.runtime.context import Context
from worker.contracts.errors import Conflict
from worker.contracts.events import TrialData
from worker.contracts.resources import Job
from worker.contracts.results import Trials, search_metric
from worker.store.jobs import events


def trials_of(context: Context, job: Job) -> Trials:
    """Return the trials that have ended.

    Raises:
        Conflict: the job is not a search.
    """
    if job.kind != "tune":
        raise Conflict(f"job {job.id} is a {job.kind}: only a search, of kind tune, has trials")
    ended = events.list_trials(context.database, job.id)
    best = _best(ended)
    return Trials(
        metric=search_metric(job.request["task"]),
        best=None if best is None else best.trial,
        metrics={} if best is None else best.metrics,
        validation_chose=job.validation_chose,
        trials=ended,
    )


def _best(trials: Sequence[TrialData]) -> TrialData | None:
    """Return the complete trial with the least loss, the earliest of equals; None if none is complete."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.losses]
    return min(complete, key=lambda trial: min(trial.losses), default=None)
