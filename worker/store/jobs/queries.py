"""Read jobs: resources, lists, counts, turns, and queued jobs whose message must be resent."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, func, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from worker.contracts.artifacts import AnyCheckpoint, ResultFile
from worker.contracts.errors import NotFound
from worker.contracts.resources import BatchCounts, Job, JobKind, JobState, Page
from worker.contracts.validation import left_out_chose, validation_chose
from worker.store.database import Database
from worker.store.jobs.claims import CHECKPOINTS
from worker.store.jobs.progress import RoundProgress, public_progress
from worker.store.jobs.rows import BETWEEN_ROUNDS, GOING_ON, WANTS_WORKER, find_row, parent_of
from worker.store.pagination import first_page
from worker.store.schema.tables import JobRow

MAX_BACKOFF = 6
"""Messages repeat after 1, 2, 4, … times the first pause, at most 2 to this power times."""
RESEND_AT_ONCE = 1000
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the last turn of a project that had none."""


@dataclass(frozen=True)
class HeldLease:
    """The owner of a running job, and the end of its lease by the owner's clock. Every renewal changes ``mark``."""

    job_id: str
    token: str | None
    expires_at: datetime

    @property
    def mark(self) -> tuple[str | None, datetime]:
        """Identifies a renewal."""
        return self.token, self.expires_at


def leases(database: Database) -> list[HeldLease]:
    """Return the leases of all running jobs and parts, the one that ends first at the beginning."""
    query = select(JobRow.id, JobRow.token, JobRow.lease_expires_at).where(JobRow.state == "running")
    with database.reading() as session:
        rows = session.execute(query.order_by(JobRow.lease_expires_at)).all()
    return [HeldLease(job_id, token, ends_at) for job_id, token, ends_at in rows if ends_at is not None]


def find(session: Session, job_id: str, *, lock: bool = False) -> JobRow:
    """Return a job's row as it is now; ``lock`` keeps it so until the transaction ends.

    Raises:
        NotFound: no such job.
    """
    row = None if parent_of(job_id) else find_row(session, job_id, lock=lock)
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return row


def get(database: Database, job_id: str) -> Job:
    """Return a job.

    Raises:
        NotFound: no such job.
    """
    with database.reading() as session:
        row = find(session, job_id)
        return to_resource(row, part_counts(session, [row]).get(row.id))


def result(database: Database, job_id: str) -> ResultFile | None:
    """Return the result file of a job; None if it has none.

    Raises:
        NotFound: no such job.
    """
    with database.reading() as session:
        stored = find(session, job_id).result
    return None if stored is None else ResultFile(result=stored["result"], media_type=stored["media_type"])


def checkpoint(database: Database, job_id: str) -> AnyCheckpoint | None:
    """Return the checkpoint of a job; None if it has none.

    Raises:
        NotFound: no such job.
    """
    with database.reading() as session:
        stored = find(session, job_id).checkpoint
    return CHECKPOINTS.validate_python(stored)


def list_page(
    database: Database,
    *,
    state: JobState | None = None,
    kind: JobKind | None = None,
    model: str | None = None,
    batch: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> Page[Job]:
    """Return jobs, newest first, older than the id ``after``. ``model`` is a model's id or name."""
    query = select(JobRow).where(JobRow.parent_id.is_(None)).order_by(JobRow.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(JobRow.state.in_(GOING_ON) if state == "running" else JobRow.state == state)
    if kind is not None:
        query = query.where(JobRow.kind == kind)
    if batch is not None:
        query = query.where(JobRow.batch_id == batch)
    if after is not None:
        query = query.where(JobRow.id < after)
    # each column has an index in the order of the list; for OR the database would read and sort all rows
    columns = (JobRow.model_id, JobRow.model_name)
    queries = [query] if model is None else [query.where(column == model) for column in columns]
    with database.reading() as session:
        found = {row.id: row for one in queries for row in session.scalars(one)}
        newest = sorted(found.values(), key=lambda row: row.id, reverse=True)
        counts = part_counts(session, newest[: limit + 1])
        items, following = first_page([to_resource(row, counts.get(row.id)) for row in newest[: limit + 1]], limit)
        return Page[Job](items=items, next=following)


def count_waiting(session: Session, project: str) -> tuple[int, int]:
    """Return how many jobs wait for a worker, of all projects and of one, whatever the session may see."""
    query = text(
        "SELECT count(*), count(CASE WHEN project = :project THEN 1 END) FROM jobs "
        "WHERE state = 'queued' AND parent_id IS NULL"
    )
    waiting, own = session.execute(query, {"project": project}).one()
    return int(waiting), int(own)


def counts(database: Database) -> BatchCounts:
    """Return the number of jobs in each state."""
    with database.reading() as session:
        return counts_in(session, None)


def counts_in(session: Session, batch_id: str | None) -> BatchCounts:
    """Return how many jobs of the batch, or of all, are in each state."""
    query = select(JobRow.state, func.count()).where(JobRow.parent_id.is_(None)).group_by(JobRow.state)
    if batch_id is not None:
        query = query.where(JobRow.batch_id == batch_id)
    counts: Counter[str] = Counter()
    for state, count in session.execute(query):
        counts["running" if state in GOING_ON else state] += count
    return BatchCounts.model_validate(counts)


def next_queued(database: Database) -> str | None:
    """Return the job or part whose turn it is of those that wait for a worker; None where none does.

    Projects take turns: the one with the fewest running jobs is next, of several the one whose turn was longest ago.
    Within a project the job that was submitted first is next, with its parts.
    """
    first = func.min(JobRow.id).label("first")
    waiting = select(JobRow.project, first).where(JobRow.state.in_(WANTS_WORKER)).group_by(JobRow.project).subquery()
    own = aliased(JobRow)
    running = select(func.count()).where(own.project == waiting.c.project, own.state == "running").scalar_subquery()
    turn = select(func.max(own.started_at)).where(own.project == waiting.c.project).scalar_subquery()
    query = select(waiting.c.first).order_by(running, func.coalesce(turn, NEVER), waiting.c.first).limit(1)
    with database.reading() as session:
        return session.scalars(query).one_or_none()


def unsent(database: Database, now: datetime, older_than: float) -> list[str]:
    """Return queued jobs whose message seems lost, oldest first.

    A new job is due ``older_than`` seconds after it was queued, later after a pause that doubles with each message. A
    job requeued after an attempt is due at once.
    """
    pause = timedelta(seconds=older_than)
    never = and_(JobRow.sends == 0, or_(JobRow.attempt > 0, JobRow.queued_at <= now - pause))
    again = [
        and_(
            JobRow.sends == 1 + power if power < MAX_BACKOFF else JobRow.sends > power,
            JobRow.sent_at <= now - pause * 2**power,
        )
        for power in range(MAX_BACKOFF + 1)
    ]
    query = select(JobRow.id).where(JobRow.state.in_(WANTS_WORKER), or_(never, *again))
    with database.reading() as session:
        return list(session.scalars(query.order_by(JobRow.queued_at, JobRow.id).limit(RESEND_AT_ONCE)))


def mark_sent(database: Database, job_id: str, now: datetime) -> None:
    """Record that a message for a queued job was sent."""
    with database.transaction() as session:
        session.execute(
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state.in_(WANTS_WORKER))
            .values(sent_at=now, sends=JobRow.sends + 1)
            .execution_options(synchronize_session=False)
        )


def part_counts(session: Session, rows: Sequence[JobRow]) -> dict[str, RoundProgress]:
    """Return, for the jobs among ``rows`` that wait, how far their rounds are."""
    waiting: dict[str | None, RoundProgress] = {row.id: RoundProgress() for row in rows if row.state == "waiting"}
    if waiting:
        part = aliased(JobRow)
        of_round = and_(JobRow.id == part.parent_id, JobRow.round == part.round, part.parent_id.in_(waiting))
        counts = select(part.parent_id, part.state, func.count()).join(JobRow, of_round)
        for job_id, state, count in session.execute(counts.group_by(part.parent_id, part.state)):
            waiting[job_id].states[state] += count
        running = select(part.parent_id, part.progress).join(JobRow, of_round).where(part.state == "running")
        for job_id, progress in session.execute(running):
            waiting[job_id].begun += progress["fraction"]
    return {str(job_id): progress for job_id, progress in waiting.items()}


def to_resource(row: JobRow, parts: RoundProgress | None = None) -> Job:
    """Return the job that a row holds. ``parts``: how far its round is, where it waits for one."""
    return Job.model_validate(
        {
            "id": row.id,
            "kind": row.kind,
            "state": "running" if row.state in BETWEEN_ROUNDS else row.state,
            "attempt": row.attempt,
            "progress": public_progress(row, parts),
            "metrics": row.metrics,
            "validation_chose": validation_chose(row.request),
            "left_out_chose": left_out_chose(row.request, row.metrics or {}),
            "error": row.error,
            "model": row.model_id,
            "dataset": row.dataset_id,
            "batch": row.batch_id,
            "request": row.request,
            "estimate": row.estimate,
            "cancel_requested": row.cancel_requested,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
        }
    )
