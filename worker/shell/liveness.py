"""What of a worker moves: the loop that receives messages, and the thread that follows a job."""

import threading
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps

LOOK_SECONDS = 2.0
MAX_LOOP_SECONDS = 60.0
"""The loop of messages turns every second. One that stands for so long will not go on."""


class MessageLoop:
    """When the loop of messages last turned. It need not while there is no connection, for then it waits for one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turned_at: float | None = None

    def turn(self) -> None:
        """Say that it turns."""
        with self._lock:
            self._turned_at = self._clock()

    def rest(self) -> None:
        """Say that it does not turn until further notice."""
        with self._lock:
            self._turned_at = None

    def fault(self) -> str | None:
        """Return that it stands still, and for how long; None where it turns or rests."""
        with self._lock:
            still = 0.0 if self._turned_at is None else self._clock() - self._turned_at
        return None if still <= MAX_LOOP_SECONDS else f"its loop of messages stands still for {still:.0f} s"

    def step(self) -> type[bootsteps.StartStopStep]:
        """Return the step of a Celery consumer that keeps this up to date."""
        loop = self

        class Watched(bootsteps.StartStopStep):  # type: ignore[misc]
            requires = {"celery.worker.consumer:Tasks"}  # noqa: RUF012 - Celery's own form

            def register_with_event_loop(self, _: Any, hub: Any) -> None:
                loop.turn()
                # Celery takes it away again when the connection is lost
                hub.call_repeatedly(LOOK_SECONDS, loop.turn)

            def stop(self, _: Any) -> None:
                loop.rest()

        return Watched
