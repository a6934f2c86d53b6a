"""Who sends a request, and which paths ask for a key."""

from dataclasses import dataclass

from worker.contracts.keys import Scope as KeyScope
from worker.store.schema.tables import DEFAULT_PROJECT

GUARDED = ("/v1", "/v2", "/metrics")
PAGES = ("/datasets", "/jobs", "/models", "/compare", "/batches", "/queue")
"""The dashboard, beside '/' itself: a browser without a key is sent to LOGIN."""
LOGIN = "/login"
READING = ("GET", "HEAD", "OPTIONS")
ASKING = ("/predict", "/explain", "/infer")
"""Endings of paths where a POST changes nothing."""


@dataclass(frozen=True)
class Caller:
    """Who sends a request. ``key`` names the key in logs; None where the service is open."""

    project: str
    scopes: tuple[KeyScope, ...]
    key: str | None = None

    def may(self, scope: KeyScope) -> bool:
        """Return whether the caller has a scope; admin has them all."""
        return scope in self.scopes or KeyScope.ADMIN in self.scopes


ANYBODY = Caller(DEFAULT_PROJECT, tuple(KeyScope))


CONFIGURED = Caller(DEFAULT_PROJECT, tuple(KeyScope), "configured")
