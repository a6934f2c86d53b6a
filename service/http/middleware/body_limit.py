"""Bounds on a request's body: its bytes, whether or not it says its length, and the time that it takes to come."""

import asyncio
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import AmbiguousLength, BodyTooLarge, BodyTooSlow
from service.http.caller import ASKING
from service.http.problems import on_own_error
from service.http.request_headers import header, told_twice

UPLOAD = ("POST", "/v1/datasets")
LONG_BODIES = (*ASKING, "/batches")
"""Endings of paths whose JSON may be as long as is configured."""
MAX_SHORT_BYTES = 2**20
"""Of any other body: it describes one thing."""
MIN_BYTES_PER_SECOND = 1024


class BodyLimit:
    """Middleware: 413 for a body that is too long, before or while it is read; 408 for one that hardly comes.

    ``stall_seconds`` without a byte is too slow. So is less than 1 KiB a second, after as many seconds. Only time in
    which the application waits for bytes counts. A length that is told in two ways is 400.
    """

    def __init__(self, app: ASGIApp, max_upload: int, max_other: int, stall_seconds: float) -> None:
        self._app = app
        self._max_upload = max_upload
        self._max_other = max_other
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["method"], scope["path"])
        if told_twice(name for name, _ in scope["headers"]):
            error = AmbiguousLength("the request tells its length by Content-Length and by Transfer-Encoding; send one")
            await on_own_error(Request(scope), error)(scope, receive, send)
            return
        body = _Body(receive, limit, self._stall_seconds)
        said = header(scope, b"content-length") or ""
        if said.isdecimal() and len(said) < 20 and int(said) > limit:
            await on_own_error(Request(scope), body.too_large())(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            # whatever the application makes of the broken body, the answer is ours
            if body.refusal is None:
                await send(message)

        try:
            await self._app(scope, body.next, guarded)
        except (BodyTooLarge, BodyTooSlow):
            if body.refusal is None:
                raise
        if body.refusal is not None:
            await on_own_error(Request(scope), body.refusal)(scope, receive, send)

    def _limit(self, method: str, path: str) -> int:
        if (method, path) == UPLOAD:
            return self._max_upload
        return self._max_other if path.endswith(LONG_BODIES) else min(self._max_other, MAX_SHORT_BYTES)


class _Body:
    """Counts and times what comes. ``refusal`` is why no more is taken."""

    def __init__(self, receive: Receive, limit: int, stall_seconds: float) -> None:
        self._receive = receive
        self._limit = limit
        self._stall_seconds = stall_seconds
        self._bytes = 0
        self._waited = 0.0
        self._ended = False
        self.refusal: BodyTooLarge | BodyTooSlow | None = None

    async def next(self) -> Message:
        if self._ended:
            return await self._receive()
        patience = self._stall_seconds + self._bytes / MIN_BYTES_PER_SECOND - self._waited
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(self._stall_seconds, patience)):
                message = await self._receive()
        except TimeoutError:
            self.refusal = BodyTooSlow(
                f"the body comes too slowly: {self._bytes} bytes came in {self._waited + time.monotonic() - began:.0f} "
                f"seconds; send at least {MIN_BYTES_PER_SECOND} a second and pause for less than "
                f"{self._stall_seconds:g} seconds"
            )
            raise self.refusal from None
        self._waited += time.monotonic() - began
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._bytes > self._limit:
            self.refusal = self.too_large()
            raise self.refusal
        return message

    def too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is longer than {self._limit} bytes")
