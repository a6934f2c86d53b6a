"""The event stream of a job, line by line."""

from pydantic import TypeAdapter, ValidationError

from service.client.errors import UnreadableAnswer
from worker.contracts.events import Event, IterationEvent, LogEvent, StateEvent, StepEvent, TrialEvent
from worker.contracts.resources import FINAL_STATES

AnyEvent = StateEvent | IterationEvent | TrialEvent | StepEvent | LogEvent
EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(Event)
ACCEPT = "text/event-stream"


class EventReader:
    """Turns lines into events; ``last`` is where to go on after a broken connection, ``ended`` whether to go on."""

    def __init__(self, after: int = 0) -> None:
        self.last = after
        self.ended = False

    def headers(self) -> dict[str, str]:
        """Return what asks for the events that have not been read yet."""
        return {"Accept": ACCEPT, "Last-Event-ID": str(self.last)}

    def take(self, line: str) -> AnyEvent | None:
        """Return the event that ``line`` holds, if it holds one that has not been read yet."""
        if not line.startswith("data:"):
            return None
        try:
            event = EVENTS.validate_json(line.removeprefix("data:"), extra="ignore")
        except ValidationError as error:
            raise UnreadableAnswer(f"the stream of events holds what this client cannot read: {error}") from error
        if event.seq <= self.last:
            return None
        self.last = event.seq
        # a job that is retried leaves its final state again
        self.ended = isinstance(event, StateEvent) and event.data.state in FINAL_STATES
        return event
