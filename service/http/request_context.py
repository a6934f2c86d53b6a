"""Which request is being answered: what its jobs' rows, logs and traces will name."""

from contextvars import ContextVar

from worker.contracts.messages import Origin
from worker.store import idempotency

STARTED: ContextVar[idempotency.Started | None] = ContextVar("started", default=None)
"""The record of the request under way: a route that stores something durable finishes it in the same transaction."""
FOLLOWED = "factrfm.followed"
"""In a request's scope when its answer is a stream with no end of its own: a caller who sends nothing more has left."""

ORIGIN: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - it is frozen
