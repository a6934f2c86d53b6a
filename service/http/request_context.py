"""Context variables of the current request: its idempotency record and its origin."""

from contextvars import ContextVar

from worker.contracts.messages import Origin
from worker.store import idempotency

STARTED: ContextVar[idempotency.Started | None] = ContextVar("started", default=None)
"""The idempotency record of the request. A route that stores something finishes it in the same transaction."""
FOLLOWED = "factrfm.followed"
"""Key in the scope of a request with an endless stream: a client that half-closes the connection has left."""

ORIGIN: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - it is frozen
