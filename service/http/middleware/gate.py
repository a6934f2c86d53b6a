"""Middleware that answers some requests in place of the application."""

from abc import ABC, abstractmethod

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Gate(ABC):
    """Middleware that passes a request on or answers it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope) if scope["type"] == "http" else None
        await (self._app if answer is None else answer)(scope, receive, send)

    @abstractmethod
    async def _answer(self, scope: Scope) -> Response | None:
        """Return the answer to a request; None to pass it on."""
