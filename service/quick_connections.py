"""Connections whose requests are read by a parser in C, in a fifth of the time that h11 takes.

uvicorn's protocol around httptools takes heads of any length, lets a body end in more headers, asks for no Host, reads
requests ahead without bound, and loses the body of a request that offers another protocol. Here all of these end: heads
have a length, requests are read ahead for a few KiB, and a connection whose request offers another protocol goes
on with h11, which reads it as if nothing had been offered.
"""

import asyncio
from typing import Any, ClassVar, Literal, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.connections import H11Connection, Timed
from service.joined_writes import JoinedWrites
from service.limits import told_twice

MOST_HEAD_BYTES = 2**15
"""Of the target and all headers of a request, and of what is between two pieces of a body."""
PIECE = 2**13
"""So many bytes are given to the parser at once. All requests in them wait for their turn in memory."""
TOO_LONG = f"the head of the request has more than {MOST_HEAD_BYTES} bytes"
NO_REQUEST = "Invalid HTTP request received."


class QuickConnection(Timed, HttpToolsProtocol):
    """Requests that came together are answered in their order; more are read when all of them are answered.

    A request whose length is told in two ways is the last one of its connection (RFC 9112, 6.1).
    """

    careful: ClassVar[type[H11Connection]]
    flow: "_HeldFlow"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._rest = b""
        """What came and was not yet given to the parser."""
        self._part: Literal["head", "body"] | None = None
        """What the next byte belongs to; None between requests."""
        self._left = 0
        """Bytes of a body whose length was told that are still to come."""
        self._told = 0
        """Bytes of the head that are known."""
        self._unknown = 0
        """Bytes taken, in later pieces than the first, that may be of a header without end: the parser keeps those."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        joined = cast("asyncio.Transport", JoinedWrites(transport, self.loop))
        super().connection_made(joined)
        self.flow = _HeldFlow(joined)

    def data_received(self, data: bytes) -> None:
        """Take bytes. Some of a head do not buy more time for its rest."""
        self._rest = self._rest + data if self._rest else data
        self._read()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; say nothing in the place of the answer to another."""
        own = self._part == "body" and not self.pipeline and not self.cycle.response_started
        if own or not self._under_way():
            super().send_400_response(msg)
        else:
            self.drop("sends no request behind another")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._part, self._left, self._told, self._unknown = "head", 0, 0, 0

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
        """Begin to answer a request that has a host (RFC 9112, 3.2) and offers no other protocol."""
        if self.parser.should_upgrade():
            return
        said = dict(self.headers)
        names = [name for name, _ in self.headers]
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1") or (version == "1.1" and names.count(b"host") != 1):
            raise ValueError("a request is of HTTP/1 and names one host")
        super().on_headers_complete()
        self._part, self._left, self._unknown = "body", int(said.get(b"content-length", 0)), 0
        if told_twice(names):
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._unknown = 0
        self._left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._part, self._unknown = None, 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to wait again where the answer came before the body's end, or behind it a part of the next head."""
        super().on_response_complete()
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not read."""
        self._rest = b""
        super().connection_lost(exc)

    def _read(self) -> None:
        """Give the parser what came. What follows a request waits for the end of its answer."""
        while self._rest and (self._part == "body" or not self._under_way()) and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            # of a body of a told length, all that belongs to it
            size = max(PIECE, self._left) if self._part == "body" else PIECE
            piece, self._rest = self._rest[:size], self._rest[size:]
            if self._part is not None:
                self._unknown += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as offer:
                self._go_on_with_h11(piece[offer.args[0] :] + self._rest)
                return
            except httptools.HttpParserError:
                self.send_400_response(NO_REQUEST)
            else:
                if self._unknown > MOST_HEAD_BYTES:
                    self.send_400_response(TOO_LONG)
        if self.transport.is_closing():
            self._rest = b""
            return
        self.flow.hold(bool(self._rest))
        if not self._under_way():
            self.flow.resume_reading()
        self._time_request()

    def _go_on_with_h11(self, rest: bytes) -> None:
        """Leave the connection to one that reads a request again of which the parser in C knows the head alone."""
        if self._under_way():
            self.drop("offers another protocol behind a request")
            return
        self.wait_for_nothing()
        self.connections.discard(self)
        self._rest = b""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers]
        other = self.careful(self.config, self.server_state, self.app_state, self.loop)
        self.flow.hold(False)
        self.flow.resume_reading()
        other.connection_made(self.transport)
        self.transport.set_protocol(other)
        other.data_received(b"\r\n".join([*lines, b"", rest]))

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


class _HeldFlow(FlowControl):
    """Reads no further, whoever asks for it, while there is enough to read."""

    _held = False

    def hold(self, held: bool) -> None:
        self._held = held
        if held:
            self.pause_reading()

    def resume_reading(self) -> None:
        if not self._held:
            super().resume_reading()


def timed(head_seconds: float, stall_seconds: float) -> type[Any]:
    """Return the protocol with its times, in the form in which uvicorn takes one."""
    times = {"head_seconds": head_seconds, "stall_seconds": stall_seconds}
    careful = type("Careful", (H11Connection,), times)
    return type("Quick", (QuickConnection,), {**times, "careful": careful})
