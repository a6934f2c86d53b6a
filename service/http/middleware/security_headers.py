"""Headers that keep browsers from more than they were asked for, on every answer, errors included."""

from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Header = tuple[bytes, bytes]
"""Name in small letters, and value."""
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Pages run scripts and styles of this service alone, none of them inline. Pictures may be data: addresses."""
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """Middleware, outermost. A route's own Cache-Control or policy wins; without one nothing is kept by caches.

    ``hsts_seconds``: how long browsers shall insist on TLS; 0 says nothing.
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int) -> None:
        self._app = app
        self._marked = marking(hsts_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._marked(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, marked)


def marking(hsts_seconds: int) -> Callable[[Sequence[Header]], list[Header]]:
    """Return what adds the headers to those of an answer, also of one that no application gave."""
    hsts = {"Strict-Transport-Security": f"max-age={hsts_seconds}"} if hsts_seconds else {}
    always = [_raw(name, value) for name, value in {**ALWAYS, **hsts}.items()]
    names = frozenset(name for name, _ in always)

    def marked(headers: Sequence[Header]) -> list[Header]:
        # names and values as they are sent: an object over them costs more than all else that is done here
        found = [header for header in headers if header[0] not in names]
        said = dict(found)
        if b"cache-control" not in said:
            found.append(NOT_KEPT)
        if b"content-security-policy" not in said:
            found.append(OF_PAGES if said.get(b"content-type", b"").startswith(b"text/html") else OF_DATA)
        return found + always

    return marked


def _raw(name: str, value: str) -> Header:
    return name.lower().encode("latin-1"), value.encode("latin-1")


NOT_KEPT = _raw("Cache-Control", "no-store")
OF_PAGES = _raw("Content-Security-Policy", PAGE_POLICY)
OF_DATA = _raw("Content-Security-Policy", DATA_POLICY)
