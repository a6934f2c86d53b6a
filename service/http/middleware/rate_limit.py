"""Rate limit by project, in each API process."""

import time

from cachetools import LRUCache
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.problems import on_factrfm_error
from worker.contracts.errors import RateLimited

MAX_KEPT = 10_000


class Bucket:
    """A token bucket: one token a request, refilled at ``rate``, with room for one second's tokens."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = max(rate, 1.0)
        self._tokens = self._most
        self._filled_at = now

    def take(self, now: float) -> bool:
        """Take a token; return whether there was one."""
        self._tokens = min(self._most, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class RateLimit:
    """Middleware after the authentication: 429 if a project sends too many requests."""

    def __init__(self, app: ASGIApp, rate: float) -> None:
        self._app = app
        self._rate = rate
        self._buckets: LRUCache[str, Bucket] = LRUCache(MAX_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get("caller") if scope["type"] == "http" else None
        if caller is not None and not self._bucket(caller.project).take(time.monotonic()):
            error = RateLimited(f"the project sends more than {self._rate:g} requests a second to this process")
            await on_factrfm_error(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _bucket(self, project: str) -> Bucket:
        bucket = self._buckets.get(project)
        if bucket is None:
            bucket = self._buckets[project] = Bucket(self._rate, time.monotonic())
        return bucket
