"""uvicorn's h11 protocol with timeouts, and with problem documents for malformed requests.

The protocol itself has no timeout for a request's head, for the rest of a body that was answered early, and for a
client that reads slowly. A body that is being read is timed where it is counted, in ``middleware.body_limit``.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from http import HTTPStatus
from typing import Any, ClassVar

import h11
import structlog
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from service.http.middleware.request_log import ID
from service.http.middleware.security_headers import Header, header_adder
from service.http.problems import MEDIA_TYPE, RETRY_AFTER, Problem
from service.http.request_context import FOLLOWED
from service.http.request_headers import has_two_lengths
from service.http.strict_http import StrictConnection

log = structlog.get_logger()

PROBE_SECONDS = 2.0
"""Interval of interim responses to a client that has half-closed its connection."""
STOPPING_SECONDS = 1.0
"""Time that a stopping process waits for more of a body."""


class TimedConnection(H11Protocol):
    """Drops a client that sends no complete head in ``head_seconds``, or reads nothing for ``stall_seconds``.

    A request with two lengths is the last one of its connection (RFC 9112, 6.1). A client that half-closes its
    connection still gets its answers. A closed connection looks the same until something is sent, so interim responses
    (102) tell the two apart, and requests of clients that have left are cancelled.
    """

    head_seconds: ClassVar[float]
    stall_seconds: ClassVar[float]
    add_headers: Callable[[Sequence[Header]], list[Header]]
    conn: StrictConnection

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = StrictConnection()
        self.context = copy_context()
        """Of the connection: its log lines must not carry the context of the last request."""
        self._request = self._timer(self.head_seconds, "sends no whole request")
        self._reader = self._timer(self.stall_seconds, "takes no answer")
        self._probe = _Timer(self.loop, PROBE_SECONDS, self._probe_caller, self.context)
        self._half_closed = False
        """The client sends nothing more."""
        self._stopping: _Timer | None = None
        """Runs while the process stops and a body is incomplete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout for a head."""
        super().connection_made(transport)
        # pause_writing is called from the first unsent byte on, so complete answers have a timeout too
        transport.set_write_buffer_limits(high=0)
        self._request.start()

    def data_received(self, data: bytes) -> None:
        """Take bytes. A part of a head does not restart its timeout."""
        super().data_received(data)
        self._update_head_timer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer complete requests, then close the connection; close it now if there are none."""
        self._half_closed = True
        self._probe.start()
        return not (self._answered() or self.cycle.more_body or self.scope.get(FOLLOWED))

    def pause_writing(self) -> None:
        """Start the timeout for the reader."""
        super().pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        """Stop the timeout for the reader."""
        super().resume_writing()
        self._reader.stop()

    def on_response_complete(self) -> None:
        """Restart the head timeout if the body is incomplete, or if a part of the next head has come."""
        self.context.run(self._after_response)

    def handle_events(self) -> None:
        """Process events; close the connection after a request with two lengths."""
        super().handle_events()
        if self.cycle is not None and has_two_lengths(name for name, _ in self.headers):
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Refuse a malformed request. Behind an unanswered one it is ignored, and the connection is closed."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        error = self.conn.refusal
        status = 431 if error is not None and error.error_status_hint == 431 else 400
        # h11 repeats the line that it refuses
        why = str(error or msg).partition(": bytearray")[0]
        self._refuse(status, "invalid_http", f"this is no request of HTTP/1.1: {why}")

    def shutdown(self) -> None:
        """Close the connection when its request is answered; refuse an incomplete body after a short wait."""
        super().shutdown()
        if not self._answered() and self.cycle.more_body:
            self._stopping = _Timer(self.loop, STOPPING_SECONDS, self._refuse_unfinished, self.context)
            self._stopping.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        for timer in (self._request, self._reader, self._probe, self._stopping):
            if timer is not None:
                timer.stop()
        super().connection_lost(exc)

    def drop(self, why: str) -> None:
        """Abort the connection."""
        log.info("connection dropped", why=why)
        self.transport.abort()

    def _probe_caller(self) -> None:
        """Send an interim response. A client that has closed resets the connection, which cancels the request."""
        self._probe.stop()
        if self.conn.our_state is h11.SEND_RESPONSE and self.conn.their_http_version == b"1.1":
            self.transport.write(self.conn.send(h11.InformationalResponse(status_code=102, headers=[])))
            self._probe.start()

    def _answered(self) -> bool:
        """Return whether no request is in progress."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _update_head_timer(self) -> None:
        if self.conn.their_state is h11.IDLE or self._answered():
            self._request.start()
        else:
            self._request.stop()
        if self._stopping is not None:
            self._stopping.stop()
            if not self._answered() and self.cycle.more_body:
                self._stopping.start()

    def _after_response(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._half_closed and (self._answered() or self.cycle.more_body):
            self.transport.close()
        elif not self._answered():
            self._request.stop()
        elif self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            self._request.start()

    def _refuse_unfinished(self) -> None:
        if not self._answered() and self.cycle.more_body:
            self._refuse(503, "not_ready", "this process is stopping and the body did not come to its end; try again")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer in place of the application and close the connection."""
        begun = self.cycle is not None and self.cycle.response_started
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or (begun and not self.cycle.response_complete):
            self.drop("sends no request behind another")
            return
        if self.cycle is not None:
            # discards the application's answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        problem = Problem(
            title=HTTPStatus(status).phrase, status=status, detail=detail, instance="", code=code, error=detail
        )
        body = problem.model_dump_json(exclude_none=True).encode()
        # request id and security headers, as the middleware adds them
        request_id = secrets.token_hex(16)
        log.info("refused", status=status, why=detail, request_id=request_id)
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        if status in RETRY_AFTER:
            headers.append((b"retry-after", RETRY_AFTER[status].encode()))
        headers += [(ID, request_id.encode()), (b"connection", b"close")]
        answer = h11.Response(status_code=status, headers=self.add_headers(headers), reason=STATUS_PHRASES[status])
        self.transport.write(self.conn.send(answer))
        # the answer to a HEAD has no body
        with suppress(h11.LocalProtocolError):
            self.transport.write(self.conn.send(h11.Data(data=body)))
        self.transport.close()

    def _timer(self, seconds: float, why: str) -> "_Timer":
        return _Timer(self.loop, seconds, lambda: self.drop(why), self.context)


def protocol_class(head_seconds: float, stall_seconds: float, hsts_seconds: int) -> type[TimedConnection]:
    """Return a protocol class with these timeouts, as uvicorn takes it."""
    times = {"head_seconds": head_seconds, "stall_seconds": stall_seconds}
    return type("Connection", (TimedConnection,), {**times, "add_headers": staticmethod(header_adder(hsts_seconds))})


class _Timer:
    """Runs an action ``seconds`` after ``start``, unless ``stop`` is called before. Repeated starts change nothing."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None], context: Context
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._action = action
        self._context = context
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._action, context=self._context)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
