"""Jobs of several parts: a job plans a round of parts and waits, and its last part puts it back into the queue.

A part is a row of jobs that names its job. It is claimed, leased, fenced and lost as a job is; ``state_update`` tells
the job of its end. No worker waits for a part: the job has none while it waits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, insert, or_, select
from sqlalchemy.orm import Session, aliased

from worker.contracts.events import EventData, IterationData, TrialData
from worker.contracts.messages import PartDone, RoundPlanned
from worker.contracts.parts import FoldDone, Part, PartResult, PartWork, TrialResult
from worker.contracts.resources import FINAL_STATES, JobState, Page, Progress
from worker.contracts.results import search_metric
from worker.store.database import Database
from worker.store.jobs.events import write
from worker.store.jobs.queries import find
from worker.store.jobs.rows import of_round, part_id
from worker.store.jobs.state_update import enter, has_open_parts, held_columns, lock, owned, unchanged
from worker.store.schema.tables import JobRow


def plan_round(database: Database, job_id: str, token: str, planned: RoundPlanned, now: datetime) -> list[str]:
    """Queue the parts of a round and have the job wait for them. Returns the ids that want a worker.

    Of a round that is planned again, parts that succeeded or still run stay as they are. A cancel request that came
    first wins: the job is cancelled, and there are no parts.

    Raises:
        LeaseLost: another attempt owns the job, or none.
    """
    with database.transaction() as session:
        row = owned(session, job_id, token)
        if row.cancel_requested:
            enter(session, row, "cancelled", now)
            return []
        known = {part.number: part for part in session.scalars(of_round(job_id, planned.round))}
        added = []
        for number, work in enumerate(planned.parts):
            part = known.get(number)
            if part is None:
                added.append(_row(row, planned.round, number, work, now))
            elif part.state in ("failed", "cancelled"):
                afresh = {"lost_attempts": 0, "cancel_requested": False, "finished_at": None, "error": None}
                enter(session, part, "queued", now, values={**_held(row), **afresh, "request": _stored(work)})
        if added:
            session.execute(insert(JobRow), added)
        values: dict[str, Any] = {"round": planned.round, "progress": planned.progress.model_dump(mode="json")}
        if planned.metrics:
            values["metrics"] = planned.metrics
        if planned.checkpoint is not None:
            values["checkpoint"] = planned.checkpoint.model_dump(mode="json")
        open_parts = of_round(job_id, planned.round).where(JobRow.state.not_in(FINAL_STATES))
        left = session.scalars(open_parts.with_only_columns(JobRow.id)).all()
        enter(session, row, "waiting" if left else "ready", now, values=values)
        return list(left) or [job_id]


def succeed_part(database: Database, row_id: str, token: str, done: PartDone, now: datetime) -> str | None:
    """End a part with its result. Returns the id of its job where that wants a worker now.

    A cancel request that came first wins: the part is cancelled.

    Raises:
        LeaseLost: another attempt owns the part, or none.
    """
    with database.transaction() as session:
        row = owned(session, row_id, token, "succeeded", "cancelled")
        if row.state == "running" and row.cancel_requested:
            enter(session, row, "cancelled", now)
        elif row.state == "running":
            job = session.get_one(JobRow, row.parent_id)
            if job.state == "waiting" and job.round == row.round:
                _show(session, job, done.result, now)
            enter(session, row, "succeeded", now, values={"result": done.result.model_dump(mode="json")})
        parent = session.get_one(JobRow, row.parent_id, populate_existing=True)
        return parent.id if parent.state == "ready" else None


def wake_stranded(database: Database, now: datetime) -> list[str]:
    """Put jobs that wait for parts which all have ended back into the queue. Returns their ids.

    A program of a version before parts ends a part without a word to its job.
    """
    part = aliased(JobRow)
    open_parts = select(part.id).where(
        part.parent_id == JobRow.id, part.round == JobRow.round, part.state.not_in(FINAL_STATES)
    )
    query = select(JobRow.id).where(JobRow.state == "waiting", ~open_parts.exists())
    with database.reading() as session:
        stranded = list(session.scalars(query))
    woken = []
    for job_id in stranded:
        with database.transaction() as session:
            row = lock(session, job_id)
            if row is not None and row.state == "waiting" and not has_open_parts(session, row):
                enter(session, row, "ready", now)
                woken.append(job_id)
    return woken


def list_parts(
    database: Database, job_id: str, *, state: JobState | None = None, limit: int = 200, after: str | None = None
) -> Page[Part]:
    """Return parts of a job, rounds and their parts in order, from behind the part ``after`` (round.number).

    Raises:
        NotFound: no such job.
    """
    query = select(JobRow).where(JobRow.parent_id == job_id).order_by(JobRow.round, JobRow.number).limit(limit + 1)
    if state is not None:
        query = query.where(JobRow.state == ("ready" if state == "queued" else state))
    if after is not None:
        round_, number = map(int, after.split("."))
        query = query.where(or_(JobRow.round > round_, and_(JobRow.round == round_, JobRow.number > number)))
    with database.reading() as session:
        find(session, job_id)
        parts = [_part(row) for row in session.scalars(query)]
    following = f"{parts[limit - 1].round}.{parts[limit - 1].number}" if len(parts) > limit else None
    return Page[Part](items=parts[:limit], next=following)


def _show(session: Session, job: JobRow, result: PartResult, now: datetime) -> None:
    """Write the events of a part, which its job's followers see, and the figures of the job."""
    events: Sequence[EventData] = ()
    changes: dict[str, Any] = {}
    if isinstance(result, TrialResult):
        events = [result.data]
        if _leads(result.data, job):
            changes["metrics"] = result.data.metrics
    elif isinstance(result, FoldDone):
        events = result.events
        changes["metrics"] = next(data.metrics for data in reversed(events) if isinstance(data, IterationData))
    if events:
        changes["last_seq"] = JobRow.last_seq + len(events)
        session.execute(unchanged(job).values(changes))
        write(session, job.id, job.last_seq + len(events), events, now)


def _leads(trial: TrialData, job: JobRow) -> bool:
    """Return whether a trial is better than what the job shows, the best of the trials so far."""
    metric = search_metric("regression" if job.task == "regression" else "classification")
    value, best = trial.metrics.get(metric), (job.metrics or {}).get(metric)
    return trial.state == "complete" and value is not None and (best is None or value < best)


def _part(row: JobRow) -> Part:
    timed = row.started_at is not None and row.finished_at is not None
    return Part.model_validate(
        {
            "number": row.number,
            "round": row.round,
            "kind": row.kind,
            "state": "queued" if row.state == "ready" else row.state,
            "attempt": row.attempt,
            "worker": row.worker,
            "seconds": (row.finished_at - row.started_at).total_seconds() if timed else None,  # type: ignore[operator]
            "error": row.error,
        }
    )


def _stored(work: PartWork) -> dict[str, Any]:
    stored: dict[str, Any] = work.model_dump(mode="json")
    return stored


def _held(job: JobRow) -> dict[str, str | None]:
    return held_columns(job.kind, job.dataset_id, job.validation_id, job.model_id)


def _row(job: JobRow, round_: int, number: int, work: PartWork, now: datetime) -> dict[str, Any]:
    return {
        "id": part_id(job.id, round_, number),
        "parent_id": job.id,
        "round": round_,
        "number": number,
        "project": job.project,
        "kind": work.kind,
        "state": "ready",
        "attempt": 0,
        "lost_attempts": 0,
        "cancel_requested": False,
        "last_seq": 0,
        "request": _stored(work),
        "task": job.task,
        "dataset_id": job.dataset_id,
        "validation_id": job.validation_id,
        **_held(job),
        "progress": Progress().model_dump(mode="json"),
        "metrics": {},
        "created_at": now,
        "queued_at": now,
        "sends": 0,
        "request_id": job.request_id,
        "traceparent": job.traceparent,
    }
