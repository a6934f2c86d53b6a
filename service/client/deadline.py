"""The time limit of a wait for a job."""

import time

import httpx

from service.client.errors import TimedOut

SILENCE = 60.0
"""A stream that is silent for this long is broken: the service sends a ping every 15 seconds."""


class Deadline:
    """A time limit that starts on creation. Without ``seconds`` there is no limit."""

    def __init__(self, job_id: str, seconds: float | None) -> None:
        self._job_id = job_id
        self._seconds = seconds
        self._ends_at = None if seconds is None else time.monotonic() + seconds

    def read_timeout(self) -> httpx.Timeout:
        """Return how long to wait for the next line of a stream."""
        left = SILENCE if self._ends_at is None else min(max(self._ends_at - time.monotonic(), 0.05), SILENCE)
        return httpx.Timeout(SILENCE, read=left)

    def check(self) -> None:
        """Check the time.

        Raises:
            TimedOut: the deadline has passed.
        """
        if self._ends_at is not None and self._seconds is not None and time.monotonic() > self._ends_at:
            raise TimedOut(self._job_id, self._seconds)
