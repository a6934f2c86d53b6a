"""The lease of one attempt, renewed by a background thread so that a long step cannot lose it."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from worker.environment.background import Background
from worker.settings import MAX_RENEWAL_PAUSE
from worker.store import jobs
from worker.store.database import Database

log = structlog.get_logger()


class Lease(Background):
    """Renews from ``__enter__`` to ``__exit__``. Callers check ``lost`` and ``cancelled`` between steps.

    While the database cannot be reached, the lease counts as held up to its length and then as lost: another worker
    may hold the job by then.
    """

    def __init__(
        self, database: Database, job_id: str, token: str, seconds: float, now: Callable[[], datetime]
    ) -> None:
        super().__init__(f"lease-{job_id}")
        self.lost = threading.Event()
        self.cancelled = threading.Event()
        self._database = database
        self._job_id = job_id
        self._token = token
        self._seconds = seconds
        self._now = now
        self._renewed_at = time.monotonic()
        self._asked_at: float | None = None

    def silent(self) -> bool:
        """Return whether a renewal has waited for an answer longer than a lease lasts."""
        asked_at = self._asked_at
        return asked_at is not None and time.monotonic() - asked_at > self._seconds

    def waits(self) -> bool:
        """Return whether no renewal has succeeded for longer than a lease lasts."""
        return time.monotonic() - self._renewed_at > self._seconds

    def _run(self) -> None:
        pause = min(self._seconds / 3, MAX_RENEWAL_PAUSE)
        while not self._ended.wait(pause) and not self.lost.is_set():
            self._asked_at = asked_at = time.monotonic()
            try:
                renewal = jobs.renew(self._database, self._job_id, self._token, self._seconds, self._now())
            except SQLAlchemyError as error:
                log.warning("lease not renewed", error=type(error).__name__)
                if time.monotonic() - self._renewed_at > self._seconds:
                    self.lost.set()
                continue
            finally:
                self._asked_at = None
            if not renewal.owned:
                self.lost.set()
                continue
            self._renewed_at = asked_at
            if renewal.cancel_requested:
                self.cancelled.set()
