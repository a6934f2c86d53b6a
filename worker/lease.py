"""The lease of one attempt, renewed by a thread of its own so that a long step cannot lose it."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from worker.store import jobs
from worker.store.database import Database

log = structlog.get_logger()

LONGEST_PAUSE = 2.0
"""Seconds between two renewals at most: a renewal is also the look for a cancel request."""


class Lease:
    """Renews from ``__enter__`` to ``__exit__``. ``lost`` and ``cancelled`` are to be looked at between steps.

    While the database cannot be reached the lease is kept up to its own length and then given up: by then another
    worker may rightly hold the job.
    """

    def __init__(
        self, database: Database, job_id: str, token: str, seconds: float, now: Callable[[], datetime]
    ) -> None:
        self.lost = threading.Event()
        self.cancelled = threading.Event()
        self._database = database
        self._job_id = job_id
        self._token = token
        self._seconds = seconds
        self._now = now
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{job_id}", daemon=True)
        self._renewed_at = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        pause = min(self._seconds / 3, LONGEST_PAUSE)
        while not self._done.wait(pause) and not self.lost.is_set():
            asked_at = time.monotonic()
            try:
                renewal = jobs.renew(self._database, self._job_id, self._token, self._seconds, self._now())
            except SQLAlchemyError as error:
                log.warning("lease not renewed", job_id=self._job_id, error=type(error).__name__)
                if time.monotonic() - self._renewed_at > self._seconds:
                    self.lost.set()
                continue
            if not renewal.owned:
                self.lost.set()
                continue
            self._renewed_at = asked_at
            if renewal.cancel_requested:
                self.cancelled.set()
