"""Connections whose requests are read by a parser in C, in a fifth of the time that h11 takes.

uvicorn's protocol around httptools takes heads of any length, lets a body end in more headers, asks for no Host, reads
requests ahead without bound, and loses the body of a request that offers another protocol. Here all of these end: heads
have a length, requests are read ahead for a few KiB, and a connection goes on with h11 when a request offers another
protocol, or does not begin like most: then h11 says what it is, as if nothing had been offered.
"""

import asyncio
import re
from typing import Any, ClassVar, Literal, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.connections import H11Connection, Timed
from service.joined_writes import JoinedWrites
from service.limits import WHOLE, told_twice

MOST_HEAD_BYTES = 2**16
"""Of the target and all headers of a request, and of what is between two pieces of a body."""
PIECE = 2**13
"""So many bytes are given to the parser at once. All requests in them wait for their turn in memory."""
TOO_LONG = f"the head of the request has more than {MOST_HEAD_BYTES} bytes"
PLAIN = re.compile(rb"[A-Z]+ /[!\"$-~]* HTTP/1\.1")
"""How a request begins that is read here."""
BEGINNING = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z\r\n]")
"""What a method, or an empty line before it, begins with (RFC 9110, 5.6.2)."""
VERSIONS = (b" HTTP/1.0", b" HTTP/1.1")
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
        self._offered = False
        """What was not read begins with a request for h11."""
        self._over = False
        """What comes is no request; those before it are still answered."""
        self._answered: RequestResponseCycle | None = None
        """The request that is being answered. ``cycle`` is the one that came last."""

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
        elif self._part == "body":
            self.drop("sends no request behind another")
        else:
            self.cycle.keep_alive = False
            self._over = True

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
        self._count(len(name) + len(value) + len(b": \r\n"))
        if self._part == "head":
            super().on_header(name, value)
        elif name.lower() in (b"connection", b"proxy-connection"):
            # the parser would read no further, and the answer is on its way without saying so
            raise ValueError("what is said of the connection is said before the body")

    def on_headers_complete(self) -> None:
        """Begin to answer a request that has a host (RFC 9112, 3.2) and offers no other protocol."""
        said = dict(self.headers)
        names = [name for name, _ in self.headers]
        version = self.parser.get_http_version()
        hosts = names.count(b"host")
        # others than the first of several that came together may be of HTTP/1.0
        if version not in ("1.0", "1.1") or hosts > 1 or (version == "1.1" and not hosts):
            raise ValueError("a request is of HTTP/1 and names one host")
        encodings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if encodings not in ([], [b"chunked"]):
            raise ValueError("a body is sent as it is or in pieces (RFC 9112, 6.1)")
        if self.parser.should_upgrade():
            return
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
        cast("dict[str, Any]", self.scope)[WHOLE] = True
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _go_on(self) -> None:
        super()._go_on()
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not read, and tell the request that is being answered."""
        self._rest = b""
        self.pipeline.clear()
        if self._answered is not None:
            self._answered.disconnected = not self._answered.response_complete
            self._answered.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _more(self) -> bool:
        """Return whether there is something for the parser."""
        return bool(self._rest) and not (self._offered or self._over)

    def _read(self) -> None:
        """Give the parser what came. What follows a request waits for the end of its answer."""
        while self._more() and (self._part == "body" or not self._under_way()) and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            if self._part is None and not self._is_plain():
                break
            # of a body of a told length, all that belongs to it
            size = max(PIECE, self._left) if self._part == "body" else PIECE
            piece, self._rest = self._rest[:size], self._rest[size:]
            if self._part is not None:
                self._unknown += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as offer:
                self._offered = True
                self._rest = self._offer() + piece[offer.args[0] :] + self._rest
            except httptools.HttpParserError:
                self.send_400_response(NO_REQUEST)
            else:
                if self._unknown > MOST_HEAD_BYTES:
                    self.send_400_response(TOO_LONG)
        if self.transport.is_closing() or self._over:
            self._rest = b""
        if self.transport.is_closing():
            return
        if self._offered and not self._under_way():
            self._go_on_with_h11()
            return
        self.flow.hold(bool(self._rest) and self._under_way())
        if not self._under_way():
            self.flow.resume_reading()
        self._time_request()

    def _is_plain(self) -> bool:
        """Return whether the first line of a request is there, and is one of those that are read here.

        One that is of no known version is refused.
        """
        if not BEGINNING.match(self._rest):
            # of another protocol, such as TLS: nothing is to be waited for
            self.send_400_response(NO_REQUEST)
            return False
        end = self._rest.find(b"\r\n", 0, PIECE)
        if end < 0:
            return len(self._rest) >= PIECE
        if PLAIN.fullmatch(self._rest, 0, end):
            return True
        if end and not self._rest[:end].endswith(VERSIONS):
            self.send_400_response(NO_REQUEST)
        else:
            self._offered = True
        return False

    def _offer(self) -> bytes:
        """Return the head that the parser knows."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers]
        return b"\r\n".join([*lines, b"", b""])

    def _go_on_with_h11(self) -> None:
        """Leave the connection to one that reads a request again of which the parser in C knows the head alone."""
        self.wait_for_nothing()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        rest, self._rest = self._rest, b""
        other = self.careful(self.config, self.server_state, self.app_state, self.loop)
        self.flow.hold(False)
        self.flow.resume_reading()
        other.connection_made(self.transport)
        if self.flow.write_paused:
            # the transport tells it once, and has told this one
            other.pause_writing()
        self.transport.set_protocol(other)
        other.data_received(rest)

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
