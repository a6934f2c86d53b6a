"""Ends of an attempt: succeeded, failed, cancelled, released or lost. The rules are those of ``transitions``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from worker.contracts.artifacts import ResultFile
from worker.contracts.messages import FitDone
from worker.contracts.resources import JobError, JobState
from worker.store import models
from worker.store.database import Database
from worker.store.jobs.queries import HeldLease
from worker.store.jobs.rows import parent_of
from worker.store.jobs.state_update import enter, lock, owned
from worker.store.schema.tables import JobRow

MAX_LOST = 3


Outcome = tuple[str, JobState]


def succeed_fit(
    database: Database, job_id: str, token: str, done: FitDone, now: datetime, file: ResultFile | None = None
) -> str | None:
    """End a fit with its model, and a search also with its file, in one transaction. Returns the model's id.

    A cancel request that came first wins: the job is cancelled, no model is made, and None is returned.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    with database.transaction() as session:
        row = owned(session, job_id, token, "succeeded", "cancelled")
        if row.state != "running":
            return row.model_id
        if row.cancel_requested:
            enter(session, row, "cancelled", now)
            return None
        model_id = models.insert(
            session,
            project=row.project,
            name=row.model_name or job_id,
            job_id=job_id,
            dataset_id=row.dataset_id,
            done=done,
            now=now,
        )
        values: dict[str, Any] = {"model_id": model_id, "metrics": dict(done.summary.metrics)}
        if file is not None:
            values["result"] = file.model_dump(mode="json")
        enter(session, row, "succeeded", now, model=model_id, values=values)
        return model_id


def succeed_with_file(database: Database, job_id: str, token: str, file: ResultFile, now: datetime) -> bool:
    """End a job that produces a file and no model.

    Returns False when a cancel request came first: the job is then cancelled.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    with database.transaction() as session:
        row = owned(session, job_id, token, "succeeded", "cancelled")
        if row.state != "running":
            return row.state == "succeeded"
        if row.cancel_requested:
            enter(session, row, "cancelled", now)
            return False
        enter(session, row, "succeeded", now, model=row.model_id, values={"result": file.model_dump(mode="json")})
        return True


def fail(database: Database, job_id: str, token: str, error: JobError, now: datetime) -> None:
    """End a job that cannot succeed.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    with database.transaction() as session:
        row = owned(session, job_id, token, *(("failed", "cancelled") if parent_of(job_id) else ("failed",)))
        if row.state == "running" and row.parent_id is not None and row.cancel_requested:
            # it belongs to a try that has ended, and what it met is nothing to the next one
            enter(session, row, "cancelled", now)
        elif row.state == "running":
            if error.type == "out_of_memory":
                error = JobError(type=error.type, detail=error.detail + _estimated(row))
            enter(session, row, "failed", now, error=error)


def cancel_running(database: Database, job_id: str, token: str, now: datetime) -> None:
    """End a job whose run was stopped on request.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    with database.transaction() as session:
        row = owned(session, job_id, token, "cancelled")
        if row.state == "running":
            enter(session, row, "cancelled", now)


def release(database: Database, job_id: str, token: str, now: datetime, reason: str) -> JobState:
    """Requeue a job without counting the attempt as lost; cancel it if that was requested.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    with database.transaction() as session:
        row = owned(session, job_id, token)
        outcome: JobState = "cancelled" if row.cancel_requested else "queued"
        enter(session, row, outcome, now, reason=reason)
        return outcome


def lose(
    database: Database,
    job_id: str,
    token: str | None,
    now: datetime,
    reason: str,
    max_lost: int = MAX_LOST,
    error_type: str = "worker_lost",
) -> JobState:
    """Count a lost attempt (``token`` None: of any owner); requeue the job, or fail it at the ``max_lost``-th.

    ``error_type``: the type of the job's error if it fails.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    with database.transaction() as session:
        return _lose(session, owned(session, job_id, token), now, reason, max_lost, error_type)


def expire(database: Database, late: Sequence[HeldLease], now: datetime, max_lost: int = MAX_LOST) -> list[Outcome]:
    """End the expired leases that were not renewed since. Returns the ids and new states of their jobs."""
    outcomes: list[Outcome] = []
    for lease in late:
        with database.transaction() as session:
            row = lock(session, lease.job_id)
            if row is None or row.state != "running" or (row.token, row.lease_expires_at) != lease.mark:
                continue
            reason = f"the worker {row.worker} was silent for longer than its lease"
            outcomes.append((lease.job_id, _lose(session, row, now, reason, max_lost)))
    return outcomes


def _lose(
    session: Session, row: JobRow, now: datetime, reason: str, max_lost: int, error_type: str = "worker_lost"
) -> JobState:
    lost = row.lost_attempts + 1
    if row.cancel_requested:
        enter(session, row, "cancelled", now, reason=reason, values={"lost_attempts": lost})
        return "cancelled"
    if lost >= max_lost:
        detail = f"{lost} attempts were lost; the last one: {reason}"
        error = JobError(type=error_type, detail=detail + _estimated(row))
        enter(session, row, "failed", now, error=error, values={"lost_attempts": lost})
        return "failed"
    enter(session, row, "queued", now, reason=reason, values={"lost_attempts": lost})
    return "queued"


def _estimated(row: JobRow) -> str:
    if row.estimate is None:
        return ""
    return f"; the job was estimated to take {row.estimate['bytes'] / 2**30:.2f} GiB of memory"
