"""Which host a request is for, and whether that is this service.

A page of another site can have its name lead to this machine (DNS rebinding) and then ask as if from here. A service
that asks for no key therefore answers to names alone that lead here for everybody.
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
from service.http.problems import on_own_error
from service.http.request_headers import header
from service.http.strict_http import ABSOLUTE

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~%-]*)(?::[0-9]{0,5})?")
METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
MAX_KNOWN = 1000
MAX_SHOWN_LENGTH = 200


class HostCheck(Gate):
    """Middleware: 421 for a request to a host that is not this service's; a target with its host becomes a path.

    ``own`` is the host that the service listens at. ``allowed`` are its other names; without any of those a service
    that asks for keys answers to every name.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, own: str, allowed: Sequence[str]) -> None:
        super().__init__(app)
        self._ring = ring
        self._restricted = bool(allowed)
        listens = f"[{own}]" if ":" in own else own
        self._names = frozenset(name.lower() for name in (*LOOPBACK, listens, *allowed))

    async def _answer(self, scope: Scope) -> Response | None:
        try:
            if not scope["path"].startswith("/"):
                _to_path(scope)
            # before HTTP/1.1 a request may name no host; browsers name one always
            host = header(scope, b"host")
            name = None if host is None else _name(host)
            if name is not None and name not in self._names and not await self._answers_to_all():
                raise MisdirectedRequest(
                    f"this service does not answer to the host {name[:MAX_SHOWN_LENGTH]!r}; ask it as localhost, by "
                    "the host that it listens at, or by one that FACTRFM_ALLOWED_HOSTS names"
                )
        except (InvalidTarget, MisdirectedRequest) as error:
            return on_own_error(Request(scope), error)
        if scope["path"] == "*":
            return Response(status_code=204, headers={"Allow": METHODS})
        return None

    async def _answers_to_all(self) -> bool:
        if self._restricted:
            return False
        try:
            return not await self._ring.empty()
        except OperationalError:
            # what belongs to anybody is in the database that is away, and /livez does not ask for it
            return True


@lru_cache(MAX_KNOWN)
def _name(host: str) -> str:
    """Return the name in a Host header, without its port and in small letters.

    Raises:
        InvalidTarget: it is no host.
    """
    found = AUTHORITY.fullmatch(host.lower())
    if found is None:
        raise InvalidTarget(f"the header Host is a name, perhaps with a port; got {host[:MAX_SHOWN_LENGTH]!r}")
    return found[1]


def _to_path(scope: Scope) -> None:
    """Have a request whose target is an address (RFC 9112, 3.2.2) look as if its path and its Host were sent.

    Raises:
        InvalidTarget: it is neither an address nor an asterisk.
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
