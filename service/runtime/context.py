"""Resources shared by the requests of one API process."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request

from service.runtime.bounded_cache import BoundedCache
from service.runtime.predictor import Predictor
from service.runtime.reader_pool import TableReaders
from service.runtime.stream_slots import StreamSlots
from service.settings import ServiceSettings
from worker.environment.job_queue import JobQueue
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts

MAX_KNOWN = 1000


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Draining:
    """Whether the process is shutting down: it finishes its requests and is not ready."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """Start the shutdown."""
        self.begun = True


@dataclass(frozen=True)
class Context:
    """Opened and closed by the application's lifespan. That of a request sees only the caller's project."""

    settings: ServiceSettings
    database: Database
    artifacts: Artifacts
    queue: JobQueue
    predictor: Predictor
    learned: BoundedCache
    readers: TableReaders
    row_readers: TableReaders
    stream_slots: StreamSlots
    draining: Draining
    now: Callable[[], datetime] = utc_now
    _known: dict[str, "Context"] = field(default_factory=dict, init=False, repr=False, compare=False)

    def for_project(self, project: str) -> "Context":
        """Return the context restricted to a project."""
        context = self._known.get(project)
        if context is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            context = self._known[project] = replace(self, database=self.database.for_project(project))
        return context


def get_context(request: Request) -> Context:
    """Return the context of a request, restricted to the caller's project."""
    context = cast("Context", request.app.state.context)
    caller = getattr(request.state, "caller", None)
    # unguarded paths have no caller and concern the whole service
    return context if caller is None else context.for_project(caller.project)


def project_of(request: Request) -> str:
    """Return the project of a guarded request's caller."""
    return cast("str", request.state.caller.project)


async def _current(request: Request) -> Context:
    # async, because FastAPI runs plain functions in a thread
    return get_context(request)


CurrentContext = Annotated[Context, Depends(_current)]
