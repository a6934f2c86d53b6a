"""Rows of jobs and of their parts: their ids, the states that callers do not see, and how one is read."""

from typing import Literal

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from worker.contracts.resources import JobState
from worker.store.schema.columns import storable
from worker.store.schema.tables import JobRow

StoredState = JobState | Literal["waiting", "ready"]
BETWEEN_ROUNDS = ("waiting", "ready")
"""A job with parts waits for those of its round, and is ready for a worker when they have ended.

A part that wants a worker is ``ready`` too, never ``queued``: workers of versions before parts take what is queued.
"""
GOING_ON = ("running", *BETWEEN_ROUNDS)
"""What callers see as running."""
WANTS_WORKER = ("queued", "ready")


def part_id(job_id: str, round_: int, number: int) -> str:
    """Return the id of a part. It sorts behind its job and before all later ones: that is the order of turns."""
    return f"{job_id}.{round_:04d}.{number:06d}"


def parent_of(row_id: str) -> str | None:
    """Return the job of a part; None where the id is a job's."""
    job_id, _, rest = row_id.partition(".")
    return job_id if rest else None


def of_round(job_id: str, round_: int) -> Select[JobRow]:
    """Return the query for the parts of a round, in the order of their numbers."""
    return select(JobRow).where(JobRow.parent_id == job_id, JobRow.round == round_).order_by(JobRow.number)


def find_row(session: Session, row_id: str, *, lock: bool = False) -> JobRow | None:
    """Return the row of a job or a part as it is now; ``lock`` keeps it so until the transaction ends."""
    if not storable(row_id):
        return None
    query = select(JobRow).where(JobRow.id == row_id).execution_options(populate_existing=True)
    return session.scalars(query.with_for_update(key_share=True) if lock else query).one_or_none()
