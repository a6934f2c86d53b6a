"""The caller of a request, and the paths that need a key."""

from dataclasses import dataclass

from worker.contracts.keys import Scope as KeyScope
from worker.store.schema.tables import DEFAULT_PROJECT

GUARDED = ("/v1", "/v2", "/metrics")
PAGES = ("/datasets", "/jobs", "/models", "/compare", "/batches", "/queue")
"""Pages of the dashboard besides '/'. A browser without a key is redirected to LOGIN."""
LOGIN = "/login"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
READ_ONLY_POSTS = ("/predict", "/explain", "/infer")
"""Suffixes of paths where a POST changes nothing."""


@dataclass(frozen=True)
class Caller:
    """The sender of a request. ``key``: id of the key, for logs; None in a service without keys."""

    project: str
    scopes: tuple[KeyScope, ...]
    key: str | None = None

    def may(self, scope: KeyScope) -> bool:
        """Return whether the caller has a scope. admin includes all scopes."""
        return scope in self.scopes or KeyScope.ADMIN in self.scopes


ANYBODY = Caller(DEFAULT_PROJECT, tuple(KeyScope))
CONFIGURED = Caller(DEFAULT_PROJECT, tuple(KeyScope), "configured")
