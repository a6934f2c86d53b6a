"""The only UPDATE that changes the state of a job, and the checks of ownership. Only ``jobs`` uses this."""

from datetime import datetime
from typing import Any

from sqlalchemy import Update, update
from sqlalchemy.orm import Session

from worker.contracts.errors import LeaseLost
from worker.contracts.events import StateData
from worker.contracts.messages import Origin
from worker.contracts.resources import FINAL_STATES, JobError, JobState
from worker.store.jobs.events import write
from worker.store.jobs.rows import BETWEEN_ROUNDS, StoredState, find_row, of_round, parent_of
from worker.store.schema.tables import JobRow


def enter(
    session: Session,
    row: JobRow,
    state: StoredState,
    now: datetime,
    *,
    reason: str | None = None,
    error: JobError | None = None,
    model: str | None = None,
    values: dict[str, Any] | None = None,
) -> None:
    """Change the state of a job or a part. ``row`` is the locked row that the decision was made on.

    The event of a job is written with it. Callers see no rounds: between two of them the job is running.

    Raises:
        LeaseLost: the row has changed.
    """
    if row.parent_id is not None and state == "queued":
        state = "ready"
    seen = row.parent_id is None and state not in BETWEEN_ROUNDS and (row.state, state) != ("ready", "running")
    changes: dict[str, Any] = {"state": state, "last_seq": JobRow.last_seq + int(seen), **_on_entry(state, now)}
    if error is not None:
        changes["error"] = error.model_dump(mode="json")
    changes |= values or {}
    entered = session.execute(unchanged(row).values(changes).returning(JobRow.last_seq, JobRow.attempt)).one_or_none()
    if entered is None:
        raise lease_lost(row.id)
    if seen:
        data = StateData.model_validate(
            {"state": state, "attempt": entered.attempt, "reason": reason, "error": error, "model": model}
        )
        write(session, row.id, entered.last_seq, [data], now)
    if state in FINAL_STATES:
        if row.round and row.parent_id is None:
            _end_parts(session, row.id, now)
        elif row.parent_id is not None:
            _tell_parent(session, row, state, error, now)


def _end_parts(session: Session, job_id: str, now: datetime) -> None:
    """Cancel the parts of a job that has ended: those that wait now, those that run as soon as they look."""
    parts = update(JobRow).where(JobRow.parent_id == job_id).execution_options(synchronize_session=False)
    session.execute(parts.where(JobRow.state == "ready").values({"state": "cancelled", **_on_entry("cancelled", now)}))
    session.execute(parts.where(JobRow.state == "running").values(cancel_requested=True))


def _tell_parent(session: Session, part: JobRow, state: StoredState, error: JobError | None, now: datetime) -> None:
    """Have a failed part fail its job, and the last part of a round to end put its job back into the queue."""
    job = lock(session, str(part.parent_id))
    if job is None or job.state != "waiting" or job.round != part.round:
        return
    if state == "failed" and error is not None:
        detail = f"part {part.number} of round {part.round} ({part.kind}) failed: {error.detail}"
        enter(session, job, "failed", now, error=JobError(type=error.type, detail=detail))
        return
    if not has_open_parts(session, job):
        enter(session, job, "ready", now)


def has_open_parts(session: Session, job: JobRow) -> bool:
    """Return whether a part of a job's round has not ended."""
    query = of_round(job.id, job.round).where(JobRow.state.not_in(FINAL_STATES)).with_only_columns(JobRow.id)
    return session.scalars(query.limit(1)).one_or_none() is not None


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
    """Return the row of a job or a part, locked to the end of the transaction; None where there is none.

    Of a part, its job is locked first: whoever holds a job may then change its parts without waiting for each other.
    """
    parent = parent_of(job_id)
    if parent is not None and find_row(session, parent, lock=True) is None:
        return None
    return find_row(session, job_id, lock=True)


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


def _on_entry(state: StoredState, now: datetime) -> dict[str, Any]:
    if state == "running":
        return {}
    if state in ("queued", *BETWEEN_ROUNDS):
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
