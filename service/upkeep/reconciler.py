"""Recovery of jobs whose worker or message is lost, and deletion of orphaned files.

Every API process runs a reconciler; a lock in the database lets one of them work at a time.
"""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import SQLAlchemyError

from service.datasets.upload_folder import UploadSweeper
from service.runtime.context import Context
from service.upkeep.lease_watch import LeaseWatch
from worker.store import idempotency, jobs, uploads
from worker.store.files.orphans import Sweeper
from worker.store.jobs import parts
from worker.store.locks import RECONCILER, try_lock

log = structlog.get_logger()

PURGE_SECONDS = 600.0

ACTIONS = Counter("factrfm_reconciler_actions", "What the reconciler of this process did", ["action"])
LOOKED = Gauge(
    "factrfm_reconciler_looked_timestamp_seconds", "When the reconciler of this process ended its last round"
)


class Reconciler:
    """A thread that runs a round every ``reconcile_seconds``. ``clock``: monotonic, in seconds."""

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        settings = context.settings
        self._context = context
        self._owner = uuid.uuid4().hex
        self._purged_at: datetime | None = None
        self._leases = LeaseWatch(settings.lease_seconds, clock)
        self._sweeper = Sweeper(context.database, context.artifacts, settings.orphan_seconds, clock)
        self._uploads = UploadSweeper(settings.home, settings.orphan_seconds, clock)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after its current round."""
        self._done.set()
        self._thread.join()

    def look(self) -> None:
        """Run one round: requeue expired jobs, purge what has expired, resend lost messages, delete orphans."""
        context, settings = self._context, self._context.settings
        # the folder of uploads may be local, so every process cleans its own
        self._uploads.look()
        if not try_lock(context.database, RECONCILER, self._owner, 3 * settings.reconcile_seconds, context.now()):
            return
        late = self._leases.late(jobs.leases(context.database), context.now())
        for job_id, outcome in jobs.expire(context.database, late, context.now(), settings.max_lost_attempts):
            log.warning("lease expired", job_id=job_id, outcome=outcome)
            ACTIONS.labels(f"expired_{outcome}").inc()
        if self._purged_at is None or (context.now() - self._purged_at).total_seconds() > PURGE_SECONDS:
            idempotency.purge(context.database, context.now())
            self._purged_at = context.now()
        for job_id in parts.wake_stranded(context.database, context.now()):
            log.warning("job woken whose parts had all ended", job_id=job_id)
            ACTIONS.labels("woken").inc()
        self._send_again()
        for upload_id in uploads.purge(context.database, context.now()):
            log.info("expired upload deleted", upload=upload_id)
            context.artifacts.delete_prefix(f"uploads/{upload_id}")
            ACTIONS.labels("upload_expired").inc()
        for path in self._sweeper.look():
            log.info("file without a row deleted", path=path)
            ACTIONS.labels("file_deleted").inc()
        LOOKED.set_to_current_time()

    def _send_again(self) -> None:
        context = self._context
        for job_id in jobs.unsent(context.database, context.now(), context.settings.resend_seconds):
            if not context.queue.send(job_id):
                return
            jobs.mark_sent(context.database, job_id, context.now())
            ACTIONS.labels("sent_again").inc()

    def _run(self) -> None:
        while not self._done.wait(self._context.settings.reconcile_seconds):
            try:
                self.look()
            except SQLAlchemyError as error:
                log.warning("reconciler could not reach the database", error=type(error).__name__)
            except Exception:
                # the thread must survive, or lost jobs wait for ever
                log.exception("a look of the reconciler failed")
