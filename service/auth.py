"""Who calls, for which project, and what they may do.

Keys come from FACTRFM_API_KEYS (project ``default``, every scope) and from the database (``factrfm keys``). While there
are neither, everybody may call, and the service listens on loopback only.
"""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from anyio import to_thread
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Forbidden, Unauthorized, on_database_away, on_own_error
from worker.contracts.keys import Scope as KeyScope
from worker.store import keys
from worker.store.database import Database
from worker.store.rows import DEFAULT_PROJECT

GUARDED = ("/v1", "/v2", "/metrics")
READING = ("GET", "HEAD", "OPTIONS")
ASKING = ("/predict", "/infer")
"""Endings of paths where a POST changes nothing."""
KEPT_SECONDS = 5.0
"""A revoked key is let in for so long at most by a process that has seen it."""
MOST_KEPT = 1000


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


class Authentication:
    """Middleware: 401 for a guarded path without a key, 403 for a key without the scope; tells the rest who calls."""

    def __init__(self, app: ASGIApp, configured: Sequence[SecretStr], database: Callable[[], Database]) -> None:
        self._app = app
        self._configured = [key.get_secret_value().encode() for key in configured]
        self._stored = _StoredKeys(database)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _guarded(scope["path"]):
            answer = await self._refusal(scope)
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a caller who may not; None for one who may, whom the scope's state then names."""
        request = Request(scope)
        try:
            caller = await self._caller(request.headers.get("authorization"))
            needed = needed_scope(scope["method"], scope["path"])
            if not caller.may(needed):
                raise Forbidden(f"this key has the scopes {', '.join(caller.scopes)}; the call needs {needed}")
        except (Unauthorized, Forbidden) as error:
            return on_own_error(request, error)
        except OperationalError as error:
            return on_database_away(request, error)
        request.state.caller = caller
        structlog.contextvars.bind_contextvars(project=caller.project, key=caller.key)
        return None

    async def _caller(self, header: str | None) -> Caller:
        """Return who sends ``header``.

        Raises:
            Unauthorized: nobody who may call.
        """
        scheme, _, given = (header or "").partition(" ")
        offered = given.strip()
        if scheme.lower() == "bearer":
            sent = offered.encode("latin-1", errors="replace")
            # every key is compared, so that the time says nothing about which one was close
            matches = [hmac.compare_digest(sent, key) for key in self._configured]
            if any(matches):
                return CONFIGURED
            found = await self._stored.find(offered)
            if found is not None:
                return found
        if not self._configured and not await self._stored.any():
            return ANYBODY
        raise Unauthorized("this service needs a key: send the header 'Authorization: Bearer <key>'")


class _StoredKeys:
    """The keys of the database, kept for seconds: a request costs no query, a revocation is soon seen.

    While the database is away, what was known last holds: the metrics then still tell of it, and all else needs it.
    """

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database
        self._kept: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._any: tuple[bool, float] = (False, 0.0)

    async def find(self, text: str) -> Caller | None:
        if not text.startswith("key_"):
            return None
        digest = hashlib.sha256(text.encode("utf-8", errors="replace")).digest()
        known = self._kept.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        try:
            found = await to_thread.run_sync(keys.find, self._database(), text)
        except OperationalError:
            if known is None:
                raise
            return known[0]
        self._kept.pop(digest, None)
        if found is None:
            return None
        caller = Caller(found.project, found.scopes, found.id)
        self._kept[digest] = caller, time.monotonic() + KEPT_SECONDS
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return caller

    async def any(self) -> bool:
        if self._any[1] < time.monotonic():
            try:
                found = self._any[0] or await to_thread.run_sync(keys.any_made, self._database())
            except OperationalError:
                if self._any[1] == 0.0:
                    raise
                return self._any[0]
            self._any = found, time.monotonic() + KEPT_SECONDS
        return self._any[0]


def needed_scope(method: str, path: str) -> KeyScope:
    """Return the scope that a call needs."""
    if path.startswith("/metrics"):
        return KeyScope.ADMIN
    return KeyScope.READ if method in READING or path.endswith(ASKING) else KeyScope.WRITE


def _guarded(path: str) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in GUARDED)
