"""The HTTP server of one API process, and how it stops.

On SIGTERM or SIGINT it first says that it is not ready, ends event streams and waits early, and still answers whatever
comes, so that a balancer has time to look elsewhere. Then it takes no more connections, finishes requests in flight and
ends. A second signal ends it at once.
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
    """Stops ``drain_seconds`` after the first signal."""

    def __init__(self, config: uvicorn.Config, draining: Draining, drain_seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        freeze_loaded_objects("application")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop on the first signal; end at once on the second."""
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
    """Answer until a signal ends it. ``now`` is the clock of the job states."""
    tracing = Tracing.start("factrfm-api", bool(settings.otlp_endpoint))
    app = create_app(settings, now, tracing)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # said, because uvicorn would take WEB_CONCURRENCY for it
        workers=1,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        # a request that came right behind another would inherit what was bound to the log and to the trace for that one
        reset_contextvars=True,
        http=protocol_class(settings.head_seconds, settings.stall_seconds, settings.hsts_seconds),
        loop="uvloop",
        ws="none",
        # nothing here depends on where a request comes from or by which scheme, so nobody is believed about it
        proxy_headers=False,
    )
    try:
        DrainingServer(config, app.state.draining, settings.drain_seconds).run()
    finally:
        tracing.close()
