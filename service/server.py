"""The HTTP server of one API process, with graceful shutdown.

On SIGTERM or SIGINT it becomes not ready, ends event streams and waits early, and still answers requests, so that a
load balancer has time to react. Then it closes its sockets, finishes requests in flight and exits. A second signal ends
it at once.
"""

import asyncio
import socket
from collections.abc import Callable
from datetime import datetime
from types import FrameType

import uvicorn

from service.app import create_app
from service.http.connections import protocol_class
from service.runtime.context import Draining, utc_now
from service.runtime.gc_freeze import freeze_loaded_objects
from service.settings import ServiceSettings
from worker.telemetry.tracing import Tracing

GRACE_SECONDS = 10


class DrainingServer(uvicorn.Server):
    """A server that stops ``drain_seconds`` after the first signal."""

    def __init__(self, config: uvicorn.Config, draining: Draining, drain_seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        await super().startup(sockets)
        freeze_loaded_objects("application")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown on the first signal; exit at once on the second."""
        if self._draining.begun:
            self.force_exit = True
            self._stop()
            return
        self._draining.begin()
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def serve(settings: ServiceSettings, now: Callable[[], datetime] = utc_now) -> None:
    """Run the server until a signal. ``now``: the clock for timestamps of jobs."""
    tracing = Tracing.start("factrfm-api", bool(settings.otlp_endpoint))
    app = create_app(settings, now, tracing)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # by default uvicorn reads WEB_CONCURRENCY
        workers=1,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        # a pipelined request would inherit the log and trace context of the request before it
        reset_contextvars=True,
        http=protocol_class(settings.head_seconds, settings.stall_seconds, settings.hsts_seconds),
        loop="uvloop",
        ws="none",
        # nothing depends on the client's address or scheme
        proxy_headers=False,
    )
    try:
        DrainingServer(config, app.state.draining, settings.drain_seconds).run()
    finally:
        tracing.close()
