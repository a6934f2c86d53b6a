"""Jobs submitted together."""

from datetime import datetime

from sqlalchemy import insert as sql_insert
from sqlalchemy import select
from sqlalchemy.orm import Session

from worker.contracts.errors import Conflict, NotFound
from worker.contracts.resources import Batch, Page
from worker.store import jobs
from worker.store.database import Database, owner
from worker.store.pagination import first_page
from worker.store.schema.columns import storable
from worker.store.schema.tables import BatchRow, JobRow

JOB_LINK = "/v1/jobs/"


def insert(session: Session, batch_id: str, *, total: int, now: datetime) -> None:
    """Store a batch, in the transaction that inserts its jobs."""
    session.execute(sql_insert(BatchRow).values(id=batch_id, project=owner(session), total=total, created_at=now))


def get(database: Database, batch_id: str) -> Batch:
    """Return a batch. Deleted jobs are missing from the links and the counts.

    Raises:
        NotFound: no such batch.
    """
    with database.reading() as session:
        row = session.get(BatchRow, batch_id) if storable(batch_id) else None
        if row is None:
            raise NotFound(f"there is no batch {batch_id!r}")
        return Batch(
            id=row.id,
            counts=jobs.counts_in(session, batch_id),
            total=row.total,
            jobs=[JOB_LINK + job_id for job_id in _job_ids(session, batch_id)],
            created_at=row.created_at,
        )


def list_page(database: Database, limit: int = 50, after: str | None = None) -> Page[Batch]:
    """Return batches without their links, newest first, older than the id ``after``."""
    query = select(BatchRow).order_by(BatchRow.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(BatchRow.id < after)
    with database.reading() as session:
        batches = [
            Batch(
                id=row.id,
                counts=jobs.counts_in(session, row.id),
                total=row.total,
                jobs=[],
                created_at=row.created_at,
            )
            for row in session.scalars(query)
        ]
    items, following = first_page(batches, limit)
    return Page[Batch](items=items, next=following)


def job_ids(database: Database, batch_id: str) -> list[str]:
    """Return the ids of a batch's jobs in order of submission; empty if there is no such batch."""
    with database.reading() as session:
        return _job_ids(session, batch_id)


def cancel(database: Database, batch_id: str, now: datetime) -> Batch:
    """Request the cancel of every unfinished job of the batch. Returns the batch afterwards.

    Raises:
        NotFound: no such batch.
    """
    get(database, batch_id)
    for job_id in job_ids(database, batch_id):
        try:
            jobs.request_cancel(database, job_id, now)
        except (Conflict, NotFound):
            # the job ended or was deleted in the meantime
            continue
    return get(database, batch_id)


def _job_ids(session: Session, batch_id: str) -> list[str]:
    # one process creates the ids of a batch, so they sort in order of submission
    return list(session.scalars(select(JobRow.id).where(JobRow.batch_id == batch_id).order_by(JobRow.id)))
