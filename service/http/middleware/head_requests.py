"""HEAD for every route of GET: the same head, and no body (RFC 9110, 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """Innermost middleware: routes a HEAD as a GET and drops the body of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}

        async def only_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["route"] = inner.get("route")
                await send(message)
                # ends the answer, also of a stream
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(inner, receive, only_head)
