"""The only UPDATE that changes the state of a job, and the checks of ownership. Only ``jobs`` uses this."""

from datetime import datetime
from typing import Any

from sqlalchemy import Update, update
from sqlalchemy.orm import Session

from worker.contracts.errors import LeaseLost, NotFound
from worker.contracts.events import StateData
from worker.contracts.messages import Origin
from worker.contracts.resources import JobError, JobState
from worker.store.jobs.events import write
from worker.store.jobs.queries import find
from worker.store.schema.tables import JobRow


def enter(
    session: Session,
    row: JobRow,
    state: JobState,
    now: datetime,
    *,
    reason: str | None = None,
    error: JobError | None = None,
    model: str | None = None,
    values: dict[str, Any] | None = None,
) -> None:
    """Change the state of a job and write the event. ``row``: the locked row that the caller has checked.

    Raises:
        LeaseLost: the row has changed.
    """
    changes: dict[str, Any] = {"state": state, "last_seq": JobRow.last_seq + 1, **_on_entry(state, now)}
    if error is not None:
        changes["error"] = error.model_dump(mode="json")
    changes |= values or {}
    entered = session.execute(unchanged(row).values(changes).returning(JobRow.last_seq, JobRow.attempt)).one_or_none()
    if entered is None:
        raise lease_lost(row.id)
    data = StateData(state=state, attempt=entered.attempt, reason=reason, error=error, model=model)
    write(session, row.id, entered.last_seq, [data], now)


def unchanged(row: JobRow) -> Update:
    """Return an UPDATE that matches only while the job equals ``row``."""
    return (
        update(JobRow)
        .where(
            JobRow.id == row.id,
            JobRow.state == row.state,
            JobRow.attempt == row.attempt,
            JobRow.token.is_not_distinct_from(row.token),
            JobRow.cancel_requested == row.cancel_requested,
        )
        .execution_options(synchronize_session=False)
    )


def running(job_id: str, token: str) -> Update:
    """Return an UPDATE that matches only while the attempt with ``token`` owns the job."""
    return (
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.token == token, JobRow.state == "running")
        .execution_options(synchronize_session=False)
    )


def lock(session: Session, job_id: str) -> JobRow | None:
    """Return a job's row, locked until the end of the transaction; None if there is no such job."""
    try:
        return find(session, job_id, lock=True)
    except NotFound:
        return None


def owned(session: Session, job_id: str, token: str | None, *endings: JobState) -> JobRow:
    """Return the locked row of a running job that ``token`` owns (None: any owner).

    A job that this attempt has already brought to one of ``endings`` is returned too.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    row = lock(session, job_id)
    if row is None or (token is not None and row.token != token) or row.state not in ("running", *endings):
        raise lease_lost(job_id)
    return row


def lease_lost(job_id: str) -> LeaseLost:
    """Return the error for a write by an attempt that does not own the job."""
    return LeaseLost(f"the job {job_id!r} does not belong to this attempt any more")


def held_columns(kind: str, dataset_id: str, validation_id: str | None, model_id: str | None) -> dict[str, str | None]:
    """Return the columns that protect the inputs of a job from deletion."""
    return {
        "held_dataset_id": dataset_id,
        "held_validation_id": validation_id,
        "held_model_id": model_id if kind == "predict" else None,
    }


def origin_columns(origin: Origin | None) -> dict[str, str | None]:
    """Return the columns about the request that queued a job."""
    known = origin or Origin()
    return {"request_id": known.request_id, "traceparent": known.traceparent}


def _on_entry(state: JobState, now: datetime) -> dict[str, Any]:
    if state == "running":
        return {}
    if state == "queued":
        return {
            "token": None,
            "worker": None,
            "lease_expires_at": None,
            "queued_at": now,
            "sent_at": None,
            "sends": 0,
        }
    # the token stays, so that an attempt can repeat its last write
    return {
        "lease_expires_at": None,
        "finished_at": now,
        "held_dataset_id": None,
        "held_validation_id": None,
        "held_model_id": None,
    }
