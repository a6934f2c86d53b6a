"""Security headers on every answer, errors included."""

from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Header = tuple[bytes, bytes]
"""Name in lower case, and value."""
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Pages load scripts and styles from this service only, not inline. Images may be data: URLs."""
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """Outermost middleware. A route's own Cache-Control or policy wins; the default is no-store.

    ``hsts_seconds``: max-age of Strict-Transport-Security; 0 omits the header.
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int) -> None:
        self._app = app
        self._add_headers = header_adder(hsts_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._add_headers(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, add_headers)


def header_adder(hsts_seconds: int) -> Callable[[Sequence[Header]], list[Header]]:
    """Return a function that adds the headers to those of an answer."""
    hsts = {"Strict-Transport-Security": f"max-age={hsts_seconds}"} if hsts_seconds else {}
    always = [_raw(name, value) for name, value in {**ALWAYS, **hsts}.items()]
    names = frozenset(name for name, _ in always)

    def add_headers(headers: Sequence[Header]) -> list[Header]:
        # works on raw headers, because a Headers object is slow
        kept_headers = [header for header in headers if header[0] not in names]
        by_name = dict(kept_headers)
        if b"cache-control" not in by_name:
            kept_headers.append(NOT_KEPT)
        if b"content-security-policy" not in by_name:
            kept_headers.append(OF_PAGES if by_name.get(b"content-type", b"").startswith(b"text/html") else OF_DATA)
        return kept_headers + always

    return add_headers


def _raw(name: str, value: str) -> Header:
    return name.lower().encode("latin-1"), value.encode("latin-1")


NOT_KEPT = _raw("Cache-Control", "no-store")
OF_PAGES = _raw("Content-Security-Policy", PAGE_POLICY)
OF_DATA = _raw("Content-Security-Policy", DATA_POLICY)
