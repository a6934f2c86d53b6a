"""The event stream of a job, line by line."""

from pydantic import TypeAdapter, ValidationError

from service.client.errors import UnreadableAnswer
from worker.contracts.events import Event, IterationEvent, LogEvent, StateEvent, StepEvent, TrialEvent
from worker.contracts.resources import FINAL_STATES

AnyEvent = StateEvent | IterationEvent | TrialEvent | StepEvent | LogEvent
EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(Event)
ACCEPT = "text/event-stream"


class EventReader:
    """Turns lines into events. ``last``: number of the last event; ``ended``: whether the job has ended."""

    def __init__(self, after: int = 0) -> None:
        self.last = after
        self.ended = False

    def headers(self) -> dict[str, str]:
        """Return the headers that ask for the events not yet read."""
        return {"Accept": ACCEPT, "Last-Event-ID": str(self.last)}

    def take(self, line: str) -> AnyEvent | None:
        """Return the event in ``line``; None for other lines and for events already read."""
        if not line.startswith("data:"):
            return None
        try:
            event = EVENTS.validate_json(line.removeprefix("data:"), extra="ignore")
        except ValidationError as error:
            raise UnreadableAnswer(f"the stream of events holds what this client cannot read: {error}") from error
        if event.seq <= self.last:
            return None
        self.last = event.seq
        # a retried job leaves its final state
        self.ended = isinstance(event, StateEvent) and event.data.state in FINAL_STATES
        return event
