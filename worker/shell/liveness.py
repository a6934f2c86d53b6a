"""Liveness of the loop that receives messages."""

import threading
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps

LOOK_SECONDS = 2.0
MAX_LOOP_SECONDS = 60.0
"""The message loop runs every second. After this long without a run it hangs."""


class MessageLoop:
    """Time of the last run of the message loop. Without a connection it need not run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turned_at: float | None = None

    def turn(self) -> None:
        """Record that the loop runs."""
        with self._lock:
            self._turned_at = self._clock()

    def rest(self) -> None:
        """Record that the loop waits for a connection."""
        with self._lock:
            self._turned_at = None

    def fault(self) -> str | None:
        """Return a message if the loop hangs, else None."""
        with self._lock:
            still = 0.0 if self._turned_at is None else self._clock() - self._turned_at
        return None if still <= MAX_LOOP_SECONDS else f"its loop of messages stands still for {still:.0f} s"

    def step(self) -> type[bootsteps.StartStopStep]:
        """Return the Celery consumer step that records the runs."""
        loop = self

        class Watched(bootsteps.StartStopStep):  # type: ignore[misc]
            requires = {"celery.worker.consumer:Tasks"}  # noqa: RUF012 - Celery's own form

            def register_with_event_loop(self, _: Any, hub: Any) -> None:
                loop.turn()
                # Celery removes the timer when the connection is lost
                hub.call_repeatedly(LOOK_SECONDS, loop.turn)

            def stop(self, _: Any) -> None:
                loop.rest()

        return Watched
