"""The job state machine: queued → running → succeeded | failed | cancelled. Nothing else changes a state.

Each change is one conditional UPDATE with its ``state`` event in the same short transaction. A running job belongs to
the attempt whose token is in its row; a write with another token changes nothing and raises LeaseLost. Final writes are
idempotent, because the answer to the first may be lost.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from worker.contracts.artifacts import AnyCheckpoint
from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing, Conflict
from worker.contracts.events import EventData, LogData, StateData
from worker.contracts.messages import Origin
from worker.contracts.requests import AnyRequest, TableRequest, TrainRequest
from worker.contracts.resources import FINAL_STATES, Estimate, Job, JobError, Progress
from worker.store.database import Database, is_foreign_key_violation, owner
from worker.store.jobs.claims import Claim, load_claim
from worker.store.jobs.endings import MAX_LOST, fail
from worker.store.jobs.events import write
from worker.store.jobs.progress import initial_progress
from worker.store.jobs.queries import find, to_resource
from worker.store.jobs.rows import BETWEEN_ROUNDS, WANTS_WORKER
from worker.store.jobs.state_update import enter, held_columns, lease_lost, lock, origin_columns, running, unchanged
from worker.store.schema.tables import JobRow

LOST_FILES = (ArtifactMissing.code, ArtifactCorrupt.code)


@dataclass(frozen=True)
class Renewal:
    """Result of a renewal: whether the attempt still owns the job, and whether it should stop."""

    owned: bool
    cancel_requested: bool


def insert_job(
    session: Session,
    *,
    job_id: str,
    request: AnyRequest,
    dataset_ids: Sequence[str],
    model_id: str | None = None,
    estimate: Estimate | None = None,
    batch_id: str | None = None,
    origin: Origin | None = None,
    now: datetime,
) -> None:
    """Queue a job in the caller's transaction; send its message after the commit.

    ``request`` is resolved: its task is known. ``dataset_ids``: the table, then the validation table if any.
    ``model_id``: the model of a predict job. ``origin``: the request that its logs and its trace name.

    Raises:
        Conflict: a dataset, the model or the batch does not exist any more.
    """
    training = request if isinstance(request, TableRequest) else None
    making = request if isinstance(request, TrainRequest) else None
    if training is not None and training.task == "auto":
        raise ValueError("a training is queued with its task resolved")
    dataset_id, validation_id = dataset_ids[0], dataset_ids[1] if len(dataset_ids) > 1 else None
    values = {
        "id": job_id,
        "project": owner(session),
        "kind": request.kind,
        "state": "queued",
        "attempt": 0,
        "lost_attempts": 0,
        "cancel_requested": False,
        "last_seq": 1,
        "request": request.model_dump(mode="json"),
        "task": None if training is None else training.task,
        "estimate": None if estimate is None else estimate.model_dump(mode="json"),
        "batch_id": batch_id,
        "dataset_id": dataset_id,
        "validation_id": validation_id,
        "model_name": None if making is None else making.model or job_id,
        "model_id": model_id,
        **held_columns(request.kind, dataset_id, validation_id, model_id),
        "progress": Progress().model_dump(mode="json"),
        "metrics": {},
        "created_at": now,
        "queued_at": now,
        "sends": 0,
        **origin_columns(origin),
    }
    try:
        session.execute(insert(JobRow).values(values))
    except IntegrityError as error:
        if is_foreign_key_violation(error):
            raise Conflict("a dataset or model that the job uses was deleted meanwhile") from error
        raise
    write(session, job_id, 1, [StateData(state="queued", attempt=0)], now)


def claim(
    database: Database, job_id: str, worker: str, lease_s: float, now: datetime, max_lost: int = MAX_LOST
) -> Claim | None:
    """Claim a queued job, or a running one whose lease has expired.

    Returns None if there is nothing to claim. An expired lease counts as a lost attempt; ``expire`` handles the
    ``max_lost``-th, which fails the job. A job whose row cannot be read fails at once.
    """
    token = secrets.token_hex(16)
    with database.transaction() as session:
        row = lock(session, job_id)
        if row is None:
            return None
        lost = row.lost_attempts
        reason = None
        attempt = row.attempt + 1
        if row.state == "running" and _expired(row, now) and not row.cancel_requested and lost + 1 < max_lost:
            lost += 1
            reason = f"the lease of {row.worker} expired"
        elif row.state == "ready" and row.parent_id is None:
            # the same attempt goes on, with what the parts of its round have made
            attempt = row.attempt
        elif row.state not in WANTS_WORKER:
            return None
        enter(
            session,
            row,
            "running",
            now,
            reason=reason,
            values={
                "attempt": attempt,
                "lost_attempts": lost,
                "token": token,
                "reports": 0,
                "worker": worker,
                "lease_expires_at": now + timedelta(seconds=lease_s),
                "started_at": row.started_at or now,
                "progress": initial_progress(row),
            },
        )
        made = load_claim(session, session.get_one(JobRow, job_id, populate_existing=True), token)
    try:
        return made()
    except ValidationError as error:
        fail(database, job_id, token, JobError.internal(error), now)
        return None


def renew(database: Database, job_id: str, token: str, lease_s: float, now: datetime) -> Renewal:
    """Renew the lease for ``lease_s`` seconds from ``now``, if the attempt still owns the job."""
    with database.transaction() as session:
        row = session.execute(
            running(job_id, token)
            .values(lease_expires_at=now + timedelta(seconds=lease_s))
            .returning(JobRow.cancel_requested)
        ).one_or_none()
    return Renewal(False, False) if row is None else Renewal(True, row.cancel_requested)


def record(
    database: Database,
    job_id: str,
    token: str,
    now: datetime,
    *,
    progress: Progress | None = None,
    metrics: Mapping[str, float] | None = None,
    events: Sequence[EventData] = (),
    checkpoint: AnyCheckpoint | None = None,
    report: int | None = None,
) -> None:
    """Store a report of a running attempt; None leaves a field unchanged.

    ``report``: its number within the attempt, from 1. A report that is already stored changes nothing, so a write can
    be repeated.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    changes: dict[str, Any] = {"last_seq": JobRow.last_seq + len(events)}
    if progress is not None:
        changes["progress"] = progress.model_dump(mode="json")
    if metrics is not None:
        changes["metrics"] = dict(metrics)
    if checkpoint is not None:
        changes["checkpoint"] = checkpoint.model_dump(mode="json")
    change = running(job_id, token)
    if report is not None:
        changes["reports"] = report
        change = change.where(JobRow.reports == report - 1)
    with database.transaction() as session:
        row = session.execute(change.values(changes).returning(JobRow.last_seq)).one_or_none()
        if row is None:
            if report is not None and _is_written(session, job_id, token, report):
                return
            raise lease_lost(job_id)
        write(session, job_id, row.last_seq, events, now)


def request_cancel(database: Database, job_id: str, now: datetime) -> Job:
    """Cancel a job that no worker has at once; ask a running one to stop. Returns the job as it then stands.

    Raises:
        NotFound: no such job.
        Conflict: it has ended.
    """
    with database.transaction() as session:
        row = find(session, job_id, lock=True)
        if row.state in FINAL_STATES:
            raise Conflict(f"the job {job_id!r} has ended: it is {row.state}")
        if row.state in ("queued", *BETWEEN_ROUNDS):
            enter(session, row, "cancelled", now)
        elif not row.cancel_requested:
            session.execute(unchanged(row).values(cancel_requested=True, last_seq=JobRow.last_seq + 1))
            write(session, job_id, row.last_seq + 1, [LogData(message="a cancel was requested")], now)
        return to_resource(find(session, job_id))


def retry(database: Database, job_id: str, now: datetime, origin: Origin | None = None) -> Job:
    """Requeue a failed or cancelled job; it resumes from its checkpoint. Returns the job afterwards.

    ``origin``: the request that its logs and its trace name from now on.

    Raises:
        NotFound: no such job.
        Conflict: it is neither failed nor cancelled, or one of its inputs is deleted.
    """
    with database.transaction() as session:
        row = find(session, job_id, lock=True)
        if row.state not in ("failed", "cancelled"):
            raise Conflict(f"only a failed or cancelled job can be retried; the job {job_id!r} is {row.state}")
        holds: dict[str, Any] = held_columns(row.kind, row.dataset_id, row.validation_id, row.model_id)
        if row.round and (row.error or {}).get("type") in LOST_FILES:
            # its parts would miss the same file again
            holds["checkpoint"] = None
        afresh = {"lost_attempts": 0, "cancel_requested": False, "started_at": None, "finished_at": None, "error": None}
        try:
            enter(session, row, "queued", now, reason="retried", values=holds | afresh | origin_columns(origin))
        except IntegrityError as error:
            if is_foreign_key_violation(error):
                raise Conflict(f"a dataset or model that the job {job_id!r} uses is deleted") from error
            raise
        return to_resource(find(session, job_id))


def delete(database: Database, job_id: str) -> None:
    """Delete a job that has ended, with its events.

    Raises:
        NotFound: no such job.
        Conflict: it is queued or running.
    """

    def remove(session: Session) -> None:
        row = find(session, job_id, lock=True)
        if row.state not in FINAL_STATES:
            raise Conflict(f"the job {job_id!r} is {row.state}; cancel it first")
        session.execute(sql_delete(JobRow).where(JobRow.id == job_id, JobRow.state.in_(FINAL_STATES)))

    database.free(remove)


def _is_written(session: Session, job_id: str, token: str, report: int) -> bool:
    """Return whether this is the last stored report of the running attempt."""
    query = select(JobRow.reports).where(JobRow.id == job_id, JobRow.token == token, JobRow.state == "running")
    return session.scalars(query).one_or_none() == report


def _expired(row: JobRow, now: datetime) -> bool:
    return row.lease_expires_at is not None and row.lease_expires_at <= now
