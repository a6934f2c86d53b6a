"""Which request is being answered: what its jobs' rows, logs and traces will name."""

from contextvars import ContextVar

from worker.contracts.messages import Origin

ORIGIN: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - it is frozen
