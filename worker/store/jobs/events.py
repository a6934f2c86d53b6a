"""The events of a job, numbered from 1 without a gap.

The UPDATE that changes the job's row also takes the number. The row lock lasts until the commit, so readers see events
in order.
"""

from collections.abc import Sequence
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from worker.contracts.events import (
    Event,
    EventData,
    IterationData,
    IterationEvent,
    LogData,
    LogEvent,
    StateData,
    StateEvent,
    StepData,
    StepEvent,
    TrialData,
    TrialEvent,
)
from worker.store.database import Database
from worker.store.schema.columns import storable
from worker.store.schema.tables import EventRow

AnyEvent = StateEvent | IterationEvent | TrialEvent | StepEvent | LogEvent
TYPES: dict[type[EventData], str] = {
    StateData: "state",
    IterationData: "iteration",
    TrialData: "trial",
    StepData: "step",
    LogData: "log",
}
EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(Event)


def write(session: Session, job_id: str, last_seq: int, data: Sequence[EventData], now: datetime) -> None:
    """Insert events with the numbers up to ``last_seq``, which the caller took from the job's row."""
    first = last_seq - len(data) + 1
    rows = [
        {
            "job_id": job_id,
            "seq": seq,
            "type": TYPES[type(event)],
            "data": event.model_dump(mode="json"),
            "created_at": now,
        }
        for seq, event in enumerate(data, first)
    ]
    if rows:
        session.execute(insert(EventRow), rows)


def list_trials(database: Database, job_id: str) -> list[TrialData]:
    """Return the trials of a search that have ended, by number; those before it began afresh are not among them."""
    if not storable(job_id):
        return []
    query = select(EventRow.data).where(EventRow.job_id == job_id, EventRow.type == TYPES[TrialData])
    with database.reading() as session:
        ended = [TrialData.model_validate(data) for data in session.scalars(query.order_by(EventRow.seq))]
    trials: dict[int, TrialData] = {}
    for trial in ended:
        if trial.trial in trials:
            # the search lost its checkpoint and began afresh
            trials.clear()
        trials[trial.trial] = trial
    return [trials[number] for number in sorted(trials)]


def list_events(database: Database, job_id: str, after_seq: int = 0, limit: int = 200) -> list[AnyEvent]:
    """Return events with a number above ``after_seq``, in order; none for a job that does not exist."""
    if not storable(job_id):
        return []
    with database.reading() as session:
        rows = session.scalars(
            select(EventRow)
            .where(EventRow.job_id == job_id, EventRow.seq > after_seq)
            .order_by(EventRow.seq)
            .limit(limit)
        ).all()
    return [
        EVENTS.validate_python({"seq": row.seq, "type": row.type, "created_at": row.created_at, "data": row.data})
        for row in rows
    ]
