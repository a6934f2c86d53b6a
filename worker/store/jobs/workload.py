"""Queued and running jobs."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from worker.contracts.resources import Job
from worker.store.database import Database
from worker.store.jobs.queries import to_resource
from worker.store.schema.tables import JobRow


@dataclass(frozen=True)
class Running:
    """A job, or a part of it, in the hands of a worker, until ``lease_expires_at`` unless that renews the lease."""

    job: Job
    worker: str
    lease_expires_at: datetime


@dataclass(frozen=True)
class Waiting:
    """The queue of one project: number of jobs, and since when the first waits."""

    project: str
    jobs: int
    since: datetime


def running(database: Database) -> list[Running]:
    """Return the running jobs in the order of their start."""
    query = select(JobRow).where(JobRow.state == "running").order_by(JobRow.started_at, JobRow.id)
    with database.reading() as session:
        rows = session.scalars(query).all()
        jobs = {row.id: row for row in rows if row.parent_id is None}
        jobs |= {row.parent_id: session.get_one(JobRow, row.parent_id) for row in rows if row.parent_id is not None}
        return [
            Running(to_resource(jobs[row.parent_id or row.id]), row.worker or "", row.lease_expires_at)
            for row in rows
            if row.lease_expires_at is not None
        ]


def waiting(database: Database) -> list[Waiting]:
    """Return the nonempty queues, the one that waits longest first."""
    since = func.min(JobRow.queued_at)
    query = (
        select(JobRow.project, func.count(), since)
        .where(JobRow.state == "queued", JobRow.parent_id.is_(None))
        .group_by(JobRow.project)
    )
    with database.reading() as session:
        return [Waiting(*row) for row in session.execute(query.order_by(since))]
