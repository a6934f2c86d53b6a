"""Finds what nobody else would: jobs whose worker is gone, and jobs whose message is lost.

Every API process runs one; a row of locks lets one of them work at a time.
"""

import threading
import uuid
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.context import Context
from worker.store import idempotency, jobs
from worker.store.locks import try_lock

log = structlog.get_logger()

LOCK = "reconciler"
PURGE_SECONDS = 600.0


class Reconciler:
    """A thread that looks every ``reconcile_seconds``."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._owner = uuid.uuid4().hex
        self._purged_at: datetime | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, after the look under way."""
        self._done.set()
        self._thread.join()

    def look(self) -> None:
        """Do one round: put expired jobs back, forget old idempotency keys, send jobs whose message seems lost."""
        context, settings = self._context, self._context.settings
        if not try_lock(context.database, LOCK, self._owner, 3 * settings.reconcile_seconds, context.now()):
            return
        for job_id, outcome in jobs.expire(context.database, context.now(), settings.max_lost_attempts):
            log.warning("lease expired", job_id=job_id, outcome=outcome)
        if self._purged_at is None or (context.now() - self._purged_at).total_seconds() > PURGE_SECONDS:
            idempotency.purge(context.database, context.now())
            self._purged_at = context.now()
        for job_id in jobs.unsent(context.database, context.now(), settings.resend_seconds):
            if not context.queue.send(job_id):
                return
            jobs.mark_sent(context.database, job_id, context.now())

    def _run(self) -> None:
        while not self._done.wait(self._context.settings.reconcile_seconds):
            try:
                self.look()
            except SQLAlchemyError as error:
                log.warning("reconciler could not reach the database", error=type(error).__name__)
