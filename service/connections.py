"""How long the other end of a connection may take. Requests are read by h11.

The server's own protocols wait for a request's head, for the rest of a body that was answered early, and for a reader
without end. A body that is being read is timed where it is counted, in ``limits``.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, ClassVar

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.limits import told_twice

log = structlog.get_logger()


class Timed:
    """Drops a caller who sends no whole head in ``head_seconds``, or who takes nothing for ``stall_seconds``.

    It stands before a protocol of uvicorn among the bases of a class.
    """

    head_seconds: ClassVar[float]
    stall_seconds: ClassVar[float]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.context = copy_context()
        """Of the connection: what it says of itself in the log is not of the request that was answered last."""
        self._request = self._timer(self.head_seconds, "sends no whole request")
        self._reader = self._timer(self.stall_seconds, "takes no answer")

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)  # type: ignore[misc]
        # told of the first byte that is not taken: also one whose answers are complete is not waited for without end
        transport.set_write_buffer_limits(high=0)
        self._request.start()

    def pause_writing(self) -> None:
        """Begin to wait for a reader."""
        super().pause_writing()  # type: ignore[misc]
        self._reader.start()

    def resume_writing(self) -> None:
        """Go on: there is a reader."""
        super().resume_writing()  # type: ignore[misc]
        self._reader.stop()

    def on_response_complete(self) -> None:
        """Begin to wait again where the answer came before the body's end, or behind it a part of the next head."""
        self.context.run(self._go_on)

    def _go_on(self) -> None:
        super().on_response_complete()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection."""
        self.wait_for_nothing()
        super().connection_lost(exc)  # type: ignore[misc]

    def wait_for_nothing(self) -> None:
        """Stop the timers."""
        self._request.stop()
        self._reader.stop()

    def _timer(self, seconds: float, why: str) -> "_Timer":
        return _Timer(self.loop, seconds, lambda: self.drop(why), self.context)

    def drop(self, why: str) -> None:
        """End the connection now."""
        log.info("connection dropped", why=why)
        self.transport.abort()


class H11Connection(Timed, H11Protocol):  # type: ignore[misc]
    """A request whose length is told in two ways is the last one of its connection (RFC 9112, 6.1)."""

    def data_received(self, data: bytes) -> None:
        """Take bytes. Some of a head do not buy more time for its rest."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self.cycle is None or self.cycle.response_complete:
            self._request.start()
        else:
            self._request.stop()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; say nothing in the place of the answer to another, which is the last."""
        if self.cycle is None or self.cycle.response_complete:
            own = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)
        elif not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        else:
            own = not self.cycle.response_started
        if not own:
            self.drop("sends no request behind another")
            return
        if self.cycle is not None:
            # what it would say now is not said
            self.cycle.disconnected = True
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            # the answer to a HEAD has no body
            self.drop("sends no request")

    def handle_events(self) -> None:
        """Begin requests that have come."""
        super().handle_events()
        if self.cycle is not None and told_twice(name for name, _ in self.headers):
            self.cycle.keep_alive = False

    def _go_on(self) -> None:
        super()._go_on()
        if not self.cycle.response_complete:
            self._request.stop()
        elif self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            self._request.start()


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
