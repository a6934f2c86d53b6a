"""Bearer keys. Without configured keys everybody may call, and the service listens on loopback only."""

import hmac
from collections.abc import Sequence

from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Unauthorized, on_own_error

GUARDED = ("/v1", "/v2", "/metrics")


class Authentication:
    """Middleware: 401 for a guarded path without one of the keys."""

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self._app = app
        self._keys = [key.get_secret_value().encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._keys and _guarded(scope["path"]):
            request = Request(scope)
            if not self._known(request.headers.get("authorization", "")):
                error = Unauthorized("this service needs a key: send the header 'Authorization: Bearer <key>'")
                await on_own_error(request, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _known(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        offered = given.strip().encode("latin-1", errors="replace")
        # every key is compared, so that the time says nothing about which one was close
        matches = [hmac.compare_digest(offered, key) for key in self._keys]
        return scheme.lower() == "bearer" and any(matches)


def _guarded(path: str) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in GUARDED)
