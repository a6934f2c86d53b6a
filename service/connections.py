"""One HTTP/1.1 connection of the server: how long its other end may take, and what is no request at all.

The server's own protocol takes heads of any length, lets a body end in more headers, asks for no Host, and waits for a
request's head, for the rest of a body that was answered early and for a reader without end. A body that is being read
is timed where it is counted, in ``limits``.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.limits import told_twice

log = structlog.get_logger()

MOST_HEAD_BYTES = 2**15
"""Of the target and all headers of a request, and of what is between two pieces of a body."""
TOO_LONG = f"the head of the request has more than {MOST_HEAD_BYTES} bytes"


class TimedConnection(HttpToolsProtocol):
    """Drops a caller who sends no whole head in ``head_seconds``, or who takes nothing for ``stall_seconds``.

    A request whose length is told in two ways is the last one of its connection (RFC 9112, 6.1).
    """

    head_seconds: ClassVar[float]
    stall_seconds: ClassVar[float]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._request = _Timer(self.loop, self.head_seconds, lambda: self._drop("sends no whole request"))
        self._reader = _Timer(self.loop, self.stall_seconds, lambda: self._drop("takes no answer"))
        self._part: Literal["head", "body"] | None = None
        """What the next byte belongs to; None between requests."""
        self._told = 0
        """Bytes of the head that are known."""
        self._unknown = 0
        """Bytes taken, in later pieces than the first, that may be of a header without end: the parser keeps those."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._request.start()

    def data_received(self, data: bytes) -> None:
        """Take bytes. Some of a head do not buy more time for its rest."""
        if self._part is not None:
            self._unknown += len(data)
        super().data_received(data)
        if self._unknown > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(TOO_LONG)
        self._time_request()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; say nothing in the middle of the answer to another."""
        if self.pipeline or (self.cycle is not None and self.cycle.response_started and self._under_way()):
            self._drop("sends no request behind another")
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._part, self._told, self._unknown = "head", 0, 0

    def on_url(self, url: bytes) -> None:
        """Take the target, or a piece of it."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Those behind the body are none of the request's: nobody has seen them when it is judged."""
        self._count(len(name) + len(value))
        if self._part == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer a request that has a host (RFC 9112, 3.2)."""
        names = [name for name, _ in self.headers]
        if self.parser.get_http_version() == "1.1" and names.count(b"host") != 1:
            raise ValueError("a request names one host")
        super().on_headers_complete()
        self._part, self._unknown = "body", 0
        if told_twice(names):
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._unknown = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._part, self._unknown = None, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to wait again where the answer came before the body's end, or behind it a part of the next head."""
        super().on_response_complete()
        self._time_request()

    def pause_writing(self) -> None:
        """Begin to wait for a reader."""
        super().pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        """Go on: there is a reader."""
        super().resume_writing()
        self._reader.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection."""
        self._request.stop()
        self._reader.stop()
        super().connection_lost(exc)

    def _count(self, size: int) -> None:
        self._told += size
        if self._told > MOST_HEAD_BYTES:
            raise ValueError(TOO_LONG)

    def _under_way(self) -> bool:
        """Return whether a request is still to be answered."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _time_request(self) -> None:
        """Wait for the rest of what has begun, but for a body that is being read. Between requests uvicorn waits."""
        if self._under_way() or (self._part is None and self.timeout_keep_alive_task is not None):
            self._request.stop()
        else:
            self._request.start()

    def _drop(self, why: str) -> None:
        log.info("connection dropped", why=why)
        self.transport.abort()


def timed(head_seconds: float, stall_seconds: float) -> type[Any]:
    """Return the protocol with its times, in the form in which uvicorn takes one."""
    return type("Timed", (TimedConnection,), {"head_seconds": head_seconds, "stall_seconds": stall_seconds})


class _Timer:
    """Runs an action once, ``seconds`` after the first start since the last stop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._action = action
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._action)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
