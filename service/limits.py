"""A bound on the bytes of a request's body, whether or not it says its length."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import BodyTooLarge, on_own_error

UPLOAD = ("POST", "/v1/datasets")


class BodyLimit:
    """Middleware: 413 for a body that is too long, before or while it is read."""

    def __init__(self, app: ASGIApp, max_upload: int, max_other: int) -> None:
        self._app = app
        self._max_upload = max_upload
        self._max_other = max_other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_upload if (scope["method"], scope["path"]) == UPLOAD else self._max_other
        request = Request(scope)
        error = BodyTooLarge(f"the body is longer than {limit} bytes")
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > limit:
            await on_own_error(request, error)(scope, receive, send)
            return
        received = 0
        exceeded = False

        async def counted() -> Message:
            nonlocal received, exceeded
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                exceeded = True
                raise error
            return message

        async def guarded(message: Message) -> None:
            # whatever the application makes of the broken body, the answer is ours
            if not exceeded:
                await send(message)

        try:
            await self._app(scope, counted, guarded)
        except BodyTooLarge:
            exceeded = True
        if exceeded:
            await on_own_error(request, error)(scope, receive, send)
