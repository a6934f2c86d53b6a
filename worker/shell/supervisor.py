"""Run one job at a time: claim it, compute it in a child process, store the outcome.

Only the supervisor writes rows. It holds the job by a lease, and ends the child on a cancel, a lost lease, a time limit
or its own stop. It retries on database errors for as long as the lease lasts.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from worker.contracts.errors import LeaseLost
from worker.settings import WorkerSettings
from worker.shell.attempt import Attempt
from worker.shell.child import Child
from worker.shell.lease import Lease
from worker.store import jobs
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.store.jobs.claims import Claim
from worker.telemetry import metrics
from worker.telemetry.logs import attempt_context
from worker.telemetry.tracing import Tracing

log = structlog.get_logger()

MAX_STILL_SECONDS = 300.0
"""The supervisor thread checks a job several times a second. After this long without a check it hangs."""


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Supervisor:
    """Runs the jobs of one worker process. One thread at a time calls ``look_at``.

    ``announce`` notifies the other workers of a job that is queued, and returns whether it could.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        database: Database,
        artifacts: Artifacts,
        *,
        worker: str,
        now: Callable[[], datetime] = utc_now,
        announce: Callable[[str], bool] = lambda _: True,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.database = database
        self.artifacts = artifacts
        self.now = now
        self.announce = announce
        self.stopping = threading.Event()
        self._worker = worker
        self._max_lost = settings.max_lost_attempts
        self._tracing = tracing or Tracing()
        self._child: Child | None = None
        self._clock = clock
        self._lease: Lease | None = None
        self._active_at = clock()
        metrics.CHILD_BYTES.set_function(self._child_bytes)

    def stop(self) -> None:
        """Requeue the running job and claim no other. Returns at once."""
        self.stopping.set()

    def close(self) -> None:
        """End the child process."""
        self.end_child()

    def touch(self) -> None:
        """Record that the thread that follows a job is alive."""
        self._active_at = self._clock()

    def fault(self) -> str | None:
        """Return a message if the thread that follows a job hangs, else None.

        Waiting for the database is no fault of the worker.
        """
        lease, still = self._lease, self._clock() - self._active_at
        if lease is None or still <= MAX_STILL_SECONDS or lease.waits():
            return None
        return f"it has not looked at its job for {still:.0f} s"

    def look_at(self, job_id: str) -> None:
        """Run all queued jobs in the order of their turns; without any, the job itself if its lease has expired.

        A message says that there is work, not which: messages are not in the order of turns. Returns when no job is
        queued, or on a stop. Continuing without a message avoids the queue's latency, and any message makes up for a
        lost one.
        """
        next_id: str | None = jobs.next_queued(self.database) or job_id
        while next_id is not None and not self.stopping.is_set():
            claim = jobs.claim(
                self.database, next_id, self._worker, self.settings.lease_seconds, self.now(), self._max_lost
            )
            if claim is not None:
                self._run(claim)
            next_id = jobs.next_queued(self.database)

    def _run(self, claim: Claim) -> None:
        names = attempt_context(claim.job_id, claim.attempt, claim.origin)
        started = time.monotonic()
        with (
            structlog.contextvars.bound_contextvars(**names),
            self._tracing.span("attempt", claim.origin.traceparent, {"factrfm.kind": claim.kind, **names}) as here,
            metrics.BUSY.track_inprogress(),
        ):
            log.info("job claimed", kind=claim.kind)
            outcome = self._attempt(replace(claim, origin=claim.origin.model_copy(update={"traceparent": here})))
            log.info("attempt ended", outcome=outcome)
            self._tracing.note("factrfm.outcome", outcome)
        metrics.ATTEMPTS.labels(claim.kind, outcome.partition(":")[0]).inc()
        metrics.ATTEMPT_SECONDS.labels(claim.kind).observe(time.monotonic() - started)
        if self._child_bytes() > self.settings.child_idle_bytes:
            self.end_child()

    def _attempt(self, claim: Claim) -> str:
        """Return the outcome of an attempt, in a word or two."""
        with Lease(self.database, claim.row_id, claim.token, self.settings.lease_seconds, self.now) as lease:
            self.touch()
            self._lease = lease
            try:
                return Attempt(self, claim, lease).run()
            except LeaseLost:
                self.end_child()
                metrics.LEASE_LOSSES.inc()
                return "lease lost"
            except BaseException:
                # the child still runs this job: the next job would get its reports
                self.end_child()
                raise
            finally:
                self._lease = None

    def warm_child(self) -> Child:
        """Return the child process, and start it if there is none."""
        if self._child is not None and not self._child.alive():
            self.end_child()
        if self._child is None:
            self._child = Child(self.settings)
        return self._child

    def _child_bytes(self) -> int:
        # read once: the metrics call this from another thread
        child = self._child
        return 0 if child is None else child.resident_bytes()

    def end_child(self) -> None:
        """End the child process if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.end(self.settings.stop_seconds)
