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
    """A running job with its worker and the end of its lease."""

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
        return [
            Running(to_resource(row), row.worker or "", row.lease_expires_at)
            for row in session.scalars(query)
            if row.lease_expires_at is not None
        ]


def waiting(database: Database) -> list[Waiting]:
    """Return the nonempty queues, the one that waits longest first."""
    since = func.min(JobRow.queued_at)
    query = select(JobRow.project, func.count(), since).where(JobRow.state == "queued").group_by(JobRow.project)
    with database.reading() as session:
        return [Waiting(*row) for row in session.execute(query.order_by(since))]
