"""Check of the Host of a request.

By DNS rebinding a page of another site can send requests to this machine. A service without keys therefore accepts only
its own host, the names of loopback, and allowed hosts.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote

from sqlalchemy.exc import OperationalError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from service.errors import InvalidTarget, MisdirectedRequest
from service.http.middleware.authentication import KeyRing
from service.http.middleware.gate import Gate
from service.http.problems import on_factrfm_error
from service.http.request_headers import header
from service.http.strict_http import ABSOLUTE

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~%-]*)(?::[0-9]{0,5})?")
METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
MAX_KNOWN = 1000
MAX_SHOWN_LENGTH = 200


class HostCheck(Gate):
    """Middleware: 421 for a request to another host. A target in absolute form becomes a path.

    ``host``: the address that the service listens on. ``allowed``: other names. Without any a service with keys accepts
    every host.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, host: str, allowed: Sequence[str]) -> None:
        super().__init__(app)
        self._ring = ring
        self._restricted = bool(allowed)
        listens = f"[{host}]" if ":" in host else host
        self._names = frozenset(name.lower() for name in (*LOOPBACK, listens, *allowed))

    async def _answer(self, scope: Scope) -> Response | None:
        try:
            if not scope["path"].startswith("/"):
                _to_path(scope)
            # HTTP/1.0 requests may lack Host; browsers always send it
            host = header(scope, b"host")
            name = None if host is None else _name(host)
            if name is not None and name not in self._names and not await self._answers_to_all():
                raise MisdirectedRequest(
                    f"this service does not answer to the host {name[:MAX_SHOWN_LENGTH]!r}; ask it as localhost, by "
                    "the host that it listens at, or by one that FACTRFM_ALLOWED_HOSTS names"
                )
        except (InvalidTarget, MisdirectedRequest) as error:
            return on_factrfm_error(Request(scope), error)
        if scope["path"] == "*":
            return Response(status_code=204, headers={"Allow": METHODS})
        return None

    async def _answers_to_all(self) -> bool:
        if self._restricted:
            return False
        try:
            return not await self._ring.empty()
        except OperationalError:
            # without the database no project can be read, and /livez does not need it
            return True


@lru_cache(MAX_KNOWN)
def _name(host: str) -> str:
    """Return the name in a Host header, in lower case and without its port.

    Raises:
        InvalidTarget: it is malformed.
    """
    match = AUTHORITY.fullmatch(host.lower())
    if match is None:
        raise InvalidTarget(f"the header Host is a name, perhaps with a port; got {host[:MAX_SHOWN_LENGTH]!r}")
    return match[1]


def _to_path(scope: Scope) -> None:
    """Replace a target in absolute form (RFC 9112, 3.2.2) by its path and its Host.

    Raises:
        InvalidTarget: it is neither in absolute form nor an asterisk.
    """
    if scope["path"] == "*" and scope["method"] == "OPTIONS":
        return
    target = ABSOLUTE.fullmatch(scope["raw_path"])
    if target is None:
        raise InvalidTarget("the target of a request is a path, or an http address without a user and a fragment")
    path = target["rest"] or b"/"
    scope["raw_path"], scope["path"] = path, unquote(path.decode("ascii"))
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [(b"host", target["authority"]), *others]
