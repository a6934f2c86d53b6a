"""Number and duration of jobs by kind and state, from one query that uses only an index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import ColumnElement, Float, and_, case, extract, func, select
from sqlalchemy.orm import Session

from worker.contracts.parts import PartKind
from worker.contracts.resources import JobKind, JobState
from worker.store.database import Database
from worker.store.jobs.rows import BETWEEN_ROUNDS
from worker.store.schema.tables import JobRow

DAY_SECONDS = 86400


@dataclass(frozen=True)
class Tally:
    """The jobs, or parts of jobs, of one kind in one state. ``seconds``: total duration of the ``timed`` ones."""

    kind: JobKind | PartKind
    state: JobState
    jobs: int
    timed: int
    seconds: float
    oldest_queued_at: datetime


def tallies(database: Database) -> Sequence[Tally]:
    """Return a tally for each kind and state that has jobs or parts. A job that waits for its parts is running."""
    with database.reading() as session:
        seconds = _seconds(session)
        waits = and_(JobRow.state == "ready", JobRow.kind.in_(get_args(PartKind)))
        state = case((waits, "queued"), (JobRow.state.in_(BETWEEN_ROUNDS), "running"), else_=JobRow.state)
        query = select(
            JobRow.kind,
            state,
            func.count(),
            func.count(seconds),
            func.coalesce(func.sum(seconds), 0.0, type_=Float),
            func.min(JobRow.queued_at),
        ).group_by(state, JobRow.kind)
        return [Tally(*row) for row in session.execute(query)]


def _seconds(session: Session) -> ColumnElement[Any]:
    """Return the time between start and end of a job, null if one is missing."""
    if session.get_bind().dialect.name == "postgresql":
        return extract("epoch", JobRow.finished_at - JobRow.started_at)
    return (func.julianday(JobRow.finished_at) - func.julianday(JobRow.started_at)) * DAY_SECONDS
