"""Limits on the size of a request's body, and on the time that it takes to arrive."""

import asyncio
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import AmbiguousLength, BodyTooLarge, BodyTooSlow
from service.http.caller import READ_ONLY_POSTS
from service.http.problems import on_factrfm_error
from service.http.request_headers import has_two_lengths, header

UPLOAD = ("POST", "/v1/datasets")
PART = ("PUT", "/v1/uploads/")
"""The method, and the beginning of the path."""
LONG_BODIES = (*READ_ONLY_POSTS, "/batches")
"""Suffixes of paths whose JSON may be as long as is configured."""
MAX_SHORT_BYTES = 2**20
"""Of any other body."""
MIN_BYTES_PER_SECOND = 1024


class BodyLimit:
    """Middleware: 413 for a body that is too long, 408 for one that is too slow, 400 for one with two lengths.

    Too slow is a pause of ``stall_seconds``, or less than 1 KiB a second after as many seconds. Only time in which the
    application waits for the body counts.
    """

    def __init__(self, app: ASGIApp, max_upload: int, max_part: int, max_other: int, stall_seconds: float) -> None:
        self._app = app
        self._max_upload = max_upload
        self._max_part = max_part
        self._max_other = max_other
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["method"], scope["path"])
        if has_two_lengths(name for name, _ in scope["headers"]):
            error = AmbiguousLength("the request tells its length by Content-Length and by Transfer-Encoding; send one")
            await on_factrfm_error(Request(scope), error)(scope, receive, send)
            return
        body = _Body(receive, limit, self._stall_seconds)
        length = header(scope, b"content-length") or ""
        if length.isdecimal() and len(length) < 20 and int(length) > limit:
            await on_factrfm_error(Request(scope), body.too_large())(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            # discards the application's answer to an incomplete body
            if body.refusal is None:
                await send(message)

        try:
            await self._app(scope, body.next, guarded)
        except (BodyTooLarge, BodyTooSlow):
            if body.refusal is None:
                raise
        if body.refusal is not None:
            await on_factrfm_error(Request(scope), body.refusal)(scope, receive, send)

    def _limit(self, method: str, path: str) -> int:
        if (method, path) == UPLOAD:
            return self._max_upload
        if method == PART[0] and path.startswith(PART[1]):
            return self._max_part
        return self._max_other if path.endswith(LONG_BODIES) else min(self._max_other, MAX_SHORT_BYTES)


class _Body:
    """Counts and times the body. ``refusal``: the error that ended it."""

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
