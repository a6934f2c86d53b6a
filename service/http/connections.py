"""uvicorn's protocol over h11, with an end to every wait and an answer to what is no request.

The protocol itself waits without end for a request's head, for the rest of a body that was answered early, and for a
reader. A body that is being read is timed where it is counted, in ``limits``.
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
from service.http.middleware.security_headers import Header, marking
from service.http.problems import MEDIA_TYPE, RETRY_AFTER, Problem
from service.http.request_context import FOLLOWED
from service.http.request_headers import told_twice
from service.http.strict_http import StrictConnection

log = structlog.get_logger()


PROBE_SECONDS = 2.0
"""A caller who will send nothing more is told so often that the answer is still being made."""
STOPPING_SECONDS = 1.0
"""A stopping process waits so long for more of a body."""


class TimedConnection(H11Protocol):
    """Drops a caller who sends no whole head in ``head_seconds``, or who takes nothing for ``stall_seconds``.

    A request whose length is told in two ways is the last one of its connection (RFC 9112, 6.1). A caller who says that
    nothing more will come still gets the answers to what came. One who has closed looks the same until something is
    sent: interim responses (102) tell them apart, so that nobody works for a caller who is gone.
    """

    head_seconds: ClassVar[float]
    stall_seconds: ClassVar[float]
    marked: Callable[[Sequence[Header]], list[Header]]
    conn: StrictConnection

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = StrictConnection()
        self.context = copy_context()
        """Of the connection: what it says of itself in the log is not of the request that was answered last."""
        self._request = self._timer(self.head_seconds, "sends no whole request")
        self._reader = self._timer(self.stall_seconds, "takes no answer")
        self._probe = _Timer(self.loop, PROBE_SECONDS, self._probe_caller, self.context)
        self._half_closed = False
        """The caller will send nothing more."""
        self._stopping: _Timer | None = None
        """Runs while the process stops and a body has not come to its end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        # told of the first byte that is not taken: also one whose answers are complete is not waited for without end
        transport.set_write_buffer_limits(high=0)
        self._request.start()

    def data_received(self, data: bytes) -> None:
        """Take bytes. Some of a head do not buy more time for its rest."""
        super().data_received(data)
        self._time()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what came whole, then end the connection; end it now where there is nothing to answer."""
        self._half_closed = True
        self._probe.start()
        return not (self._answered() or self.cycle.more_body or self.scope.get(FOLLOWED))

    def pause_writing(self) -> None:
        """Begin to wait for a reader."""
        super().pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        """Go on: there is a reader."""
        super().resume_writing()
        self._reader.stop()

    def on_response_complete(self) -> None:
        """Begin to wait again where the answer came before the body's end, or behind it a part of the next head."""
        self.context.run(self._go_on)

    def handle_events(self) -> None:
        """Begin requests that have come."""
        super().handle_events()
        if self.cycle is not None and told_twice(name for name, _ in self.headers):
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; say nothing in the place of the answer to another, which is the last."""
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
        """End the connection when its request is answered; one whose body stopped to come is refused soon."""
        super().shutdown()
        if not self._answered() and self.cycle.more_body:
            self._stopping = _Timer(self.loop, STOPPING_SECONDS, self._refuse_unfinished, self.context)
            self._stopping.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection."""
        for timer in (self._request, self._reader, self._probe, self._stopping):
            if timer is not None:
                timer.stop()
        super().connection_lost(exc)

    def drop(self, why: str) -> None:
        """End the connection now."""
        log.info("connection dropped", why=why)
        self.transport.abort()

    def _probe_caller(self) -> None:
        """Send an interim response: a caller who has closed resets the connection, which ends the request."""
        self._probe.stop()
        if self.conn.our_state is h11.SEND_RESPONSE and self.conn.their_http_version == b"1.1":
            self.transport.write(self.conn.send(h11.InformationalResponse(status_code=102, headers=[])))
            self._probe.start()

    def _answered(self) -> bool:
        """Return whether no request is under way."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _time(self) -> None:
        if self.conn.their_state is h11.IDLE or self._answered():
            self._request.start()
        else:
            self._request.stop()
        if self._stopping is not None:
            self._stopping.stop()
            if not self._answered() and self.cycle.more_body:
                self._stopping.start()

    def _go_on(self) -> None:
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
        """Answer in the place of the application, or of nobody, and end the connection."""
        begun = self.cycle is not None and self.cycle.response_started
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or (begun and not self.cycle.response_complete):
            self.drop("sends no request behind another")
            return
        if self.cycle is not None:
            # what it would say now is not said
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        problem = Problem(
            title=HTTPStatus(status).phrase, status=status, detail=detail, instance="", code=code, error=detail
        )
        body = problem.model_dump_json(exclude_none=True).encode()
        # an answer like every other: with an id that the log knows, and the headers for browsers
        request_id = secrets.token_hex(16)
        log.info("refused", status=status, why=detail, request_id=request_id)
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        if status in RETRY_AFTER:
            headers.append((b"retry-after", RETRY_AFTER[status].encode()))
        headers += [(ID, request_id.encode()), (b"connection", b"close")]
        answer = h11.Response(status_code=status, headers=self.marked(headers), reason=STATUS_PHRASES[status])
        self.transport.write(self.conn.send(answer))
        # the answer to a HEAD has no body
        with suppress(h11.LocalProtocolError):
            self.transport.write(self.conn.send(h11.Data(data=body)))
        self.transport.close()

    def _timer(self, seconds: float, why: str) -> "_Timer":
        return _Timer(self.loop, seconds, lambda: self.drop(why), self.context)


def timed(head_seconds: float, stall_seconds: float, hsts_seconds: int) -> type[TimedConnection]:
    """Return the protocol with its times, in the form in which uvicorn takes one."""
    times = {"head_seconds": head_seconds, "stall_seconds": stall_seconds}
    return type("Connection", (TimedConnection,), {**times, "marked": staticmethod(marking(hsts_seconds))})


class _Timer:
    """Runs an action once, ``seconds`` after the first start since the last stop."""

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
