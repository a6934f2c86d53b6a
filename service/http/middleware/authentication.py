"""Authentication by API keys, and the check of scopes.

Keys come from FACTRFM_API_KEYS (project ``default``, every scope) and from the database (``factrfm keys``). Without any
key everybody may call, and the service listens on loopback only. Programs send a key in the header Authorization,
browsers in a cookie.
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
from service.http.caller import ANYBODY, CONFIGURED, GUARDED, LOGIN, PAGES, READ_ONLY_POSTS, SAFE_METHODS, Caller
from service.http.middleware import browser_sessions
from service.http.middleware.gate import Gate
from service.http.problems import on_database_away, on_factrfm_error
from service.http.request_headers import header
from worker.contracts.keys import Scope as KeyScope
from worker.store import keys
from worker.store.database import Database

UNDER_GUARDED, UNDER_PAGES = (tuple(f"{path}/" for path in paths) for paths in (GUARDED, PAGES))
KEPT_SECONDS = 5.0
"""Time that a key is cached: a revoked key is accepted for so long at most."""
MAX_KEPT = 1000


class Authentication(Gate):
    """Middleware: 401 for a guarded path without a key, 403 for a key without the scope.

    Puts the caller into the request's state. A page of the dashboard without a key is redirected to the login form.
    """

    def __init__(self, app: ASGIApp, ring: "KeyRing") -> None:
        super().__init__(app)
        self._ring = ring

    async def _answer(self, scope: Scope) -> Response | None:
        """Return the answer to a caller without access; None for others, who are put into the state."""
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
                target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{LOGIN}?next={quote(target)}", 303, {"Cache-Control": "no-store"})
            return on_factrfm_error(request, error)
        except Forbidden as error:
            return on_factrfm_error(Request(scope), error)
        except OperationalError as error:
            return on_database_away(Request(scope), error)
        scope.setdefault("state", {})["caller"] = caller
        structlog.contextvars.bind_contextvars(project=caller.project, key=caller.key)
        return None

    async def _caller(self, scope: Scope) -> Caller:
        """Return the sender of a request. The header takes precedence over the cookie.

        Raises:
            Unauthorized: the key is missing or invalid.
            Forbidden: a page of another site sent the request.
        """
        authorization = header(scope, b"authorization")
        if authorization is None:
            key = browser_sessions.key_in(scope)
        else:
            scheme, _, token = authorization.partition(" ")
            # Starlette decodes headers as Latin-1; keys are UTF-8
            token = token.strip().encode("latin-1", errors="replace").decode(errors="replace")
            key = token if scheme.lower() == "bearer" else None
        caller = None if key is None else await self._ring.find(key)
        if caller is not None:
            if authorization is None and scope["method"] not in SAFE_METHODS:
                browser_sessions.check_same_origin(scope)
            return caller
        if await self._ring.empty():
            if scope["method"] not in SAFE_METHODS:
                browser_sessions.check_no_other_site(scope)
            return ANYBODY
        if authorization is not None and key is None:
            raise Unauthorized("the header Authorization is not understood: send 'Authorization: Bearer <key>'")
        if key is not None:
            raise Unauthorized("this service does not know the key, or it was revoked")
        raise Unauthorized("this service needs a key: send the header 'Authorization: Bearer <key>'")


class KeyRing:
    """The configured keys, and those of the database.

    Keys of the database are cached for seconds, which saves a query a request. While the database is away cached keys
    stay valid, so that /metrics can still be read.
    """

    def __init__(self, configured: Sequence[SecretStr], database: Callable[[], Database]) -> None:
        self._configured = [key.get_secret_value().encode() for key in configured]
        self._database = database
        self._kept: LRUCache[bytes, tuple[Caller, float]] = LRUCache(MAX_KEPT)
        self._any: tuple[bool, float] = (False, 0.0)

    async def find(self, text: str) -> Caller | None:
        """Return the caller with the key ``text``; None if it is unknown or revoked."""
        sent = text.encode("utf-8", errors="replace")
        # compares every key, so that the time does not depend on the match
        matches = [hmac.compare_digest(sent, key) for key in self._configured]
        if any(matches):
            return CONFIGURED
        return await self._stored(text) if text.startswith("key_") else None

    async def empty(self) -> bool:
        """Return whether there is no key, so that everybody may call."""
        return not self._configured and not await self._any_stored()

    async def _stored(self, text: str) -> Caller | None:
        digest = hashlib.sha256(text.encode("utf-8", errors="replace")).digest()
        known = self._kept.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        try:
            record = await to_thread.run_sync(keys.find, self._database(), text)
        except OperationalError:
            if known is None:
                raise
            return known[0]
        if record is None:
            self._kept.pop(digest, None)
            return None
        caller = Caller(record.project, record.scopes, record.id)
        self._kept[digest] = caller, time.monotonic() + KEPT_SECONDS
        return caller

    async def _any_stored(self) -> bool:
        if self._any[1] < time.monotonic():
            try:
                any_made = self._any[0] or await to_thread.run_sync(keys.any_made, self._database())
            except OperationalError:
                if self._any[1] == 0.0:
                    raise
                return self._any[0]
            self._any = any_made, time.monotonic() + KEPT_SECONDS
        return self._any[0]


def needed_scope(method: str, path: str) -> KeyScope:
    """Return the scope that a call needs."""
    if path.startswith("/metrics"):
        return KeyScope.ADMIN
    return KeyScope.READ if method in SAFE_METHODS or path.endswith(READ_ONLY_POSTS) else KeyScope.WRITE


def is_guarded(path: str) -> bool:
    """Return whether a path of the API needs a key."""
    return path.startswith(UNDER_GUARDED) or path in GUARDED


def is_page(path: str) -> bool:
    """Return whether a path is a page of the dashboard with data of a project."""
    return path == "/" or path.startswith(UNDER_PAGES) or path in PAGES
