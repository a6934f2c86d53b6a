"""Who calls, for which project, and what they may do.

Keys come from FACTRFM_API_KEYS (project ``default``, every scope) and from the database (``factrfm keys``). While there
are neither, everybody may call, and the service listens on loopback only. Programs send a key in the header
Authorization, browsers in a cookie.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote

import structlog
from anyio import to_thread
from cachetools import LRUCache
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Scope

from service.errors import Forbidden, Unauthorized
from service.http.caller import ANYBODY, ASKING, CONFIGURED, GUARDED, LOGIN, PAGES, READING, Caller
from service.http.middleware import browser_sessions
from service.http.middleware.gate import Gate
from service.http.problems import on_database_away, on_own_error
from service.http.request_headers import header
from worker.contracts.keys import Scope as KeyScope
from worker.store import keys
from worker.store.database import Database

UNDER_GUARDED, UNDER_PAGES = (tuple(f"{path}/" for path in paths) for paths in (GUARDED, PAGES))
KEPT_SECONDS = 5.0
"""A revoked key is let in for so long at most by a process that has seen it."""
MAX_KEPT = 1000


class Authentication(Gate):
    """Middleware: 401 for a guarded path without a key, 403 for a key without the scope; tells the rest who calls.

    A page of the dashboard is answered with a redirect to the form that takes a key.
    """

    def __init__(self, app: ASGIApp, ring: "KeyRing") -> None:
        super().__init__(app)
        self._ring = ring

    async def _answer(self, scope: Scope) -> Response | None:
        """Return the answer to a caller who may not; None for one who may, whom the scope's state then names."""
        if not (is_guarded(scope["path"]) or is_page(scope["path"])):
            return None
        try:
            caller = await self._caller(scope)
            needed = needed_scope(scope["method"], scope["path"])
            if not caller.may(needed):
                raise Forbidden(f"this key has the scopes {', '.join(caller.scopes)}; the call needs {needed}")
        except Unauthorized as error:
            request = Request(scope)
            if is_page(scope["path"]):
                asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{LOGIN}?next={quote(asked)}", 303, {"Cache-Control": "no-store"})
            return on_own_error(request, error)
        except Forbidden as error:
            return on_own_error(Request(scope), error)
        except OperationalError as error:
            return on_database_away(Request(scope), error)
        scope.setdefault("state", {})["caller"] = caller
        structlog.contextvars.bind_contextvars(project=caller.project, key=caller.key)
        return None

    async def _caller(self, scope: Scope) -> Caller:
        """Return who sends a request. A header is asked before a cookie.

        Raises:
            Unauthorized: nobody who may call.
            Forbidden: a page of another site had a browser send it.
        """
        authorization = header(scope, b"authorization")
        if authorization is None:
            offered = browser_sessions.key_in(scope)
        else:
            scheme, _, given = authorization.partition(" ")
            # Starlette reads headers as Latin-1, whatever their bytes meant
            given = given.strip().encode("latin-1", errors="replace").decode(errors="replace")
            offered = given if scheme.lower() == "bearer" else None
        found = None if offered is None else await self._ring.find(offered)
        if found is not None:
            if authorization is None and scope["method"] not in READING:
                browser_sessions.check_same_origin(scope)
            return found
        if await self._ring.empty():
            if scope["method"] not in READING:
                browser_sessions.check_no_other_site(scope)
            return ANYBODY
        if authorization is not None and offered is None:
            raise Unauthorized("the header Authorization is not understood: send 'Authorization: Bearer <key>'")
        if offered is not None:
            raise Unauthorized("this service does not know the key, or it was revoked")
        raise Unauthorized("this service needs a key: send the header 'Authorization: Bearer <key>'")


class KeyRing:
    """The configured keys, and those of the database.

    The latter are kept for seconds: a request costs no query, a revocation is soon seen. While the database is away,
    what was known last holds: the metrics then still tell of it, and all else needs it.
    """

    def __init__(self, configured: Sequence[SecretStr], database: Callable[[], Database]) -> None:
        self._configured = [key.get_secret_value().encode() for key in configured]
        self._database = database
        self._kept: LRUCache[bytes, tuple[Caller, float]] = LRUCache(MAX_KEPT)
        self._any: tuple[bool, float] = (False, 0.0)

    async def find(self, text: str) -> Caller | None:
        """Return who sends the key ``text``; None where it is none, or was revoked."""
        sent = text.encode("utf-8", errors="replace")
        # every key is compared, so that the time says nothing about which one was close
        matches = [hmac.compare_digest(sent, key) for key in self._configured]
        if any(matches):
            return CONFIGURED
        return await self._stored(text) if text.startswith("key_") else None

    async def empty(self) -> bool:
        """Return whether there is no key at all, so that everybody may call."""
        return not self._configured and not await self._any_stored()

    async def _stored(self, text: str) -> Caller | None:
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
        if found is None:
            self._kept.pop(digest, None)
            return None
        caller = Caller(found.project, found.scopes, found.id)
        self._kept[digest] = caller, time.monotonic() + KEPT_SECONDS
        return caller

    async def _any_stored(self) -> bool:
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


def is_guarded(path: str) -> bool:
    """Return whether whoever asks for a path must say who they are."""
    return path.startswith(UNDER_GUARDED) or path in GUARDED


def is_page(path: str) -> bool:
    """Return whether a path is a page of the dashboard that shows what belongs to a project."""
    return path == "/" or path.startswith(UNDER_PAGES) or path in PAGES
