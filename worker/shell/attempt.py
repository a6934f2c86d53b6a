"""One attempt at a job: send the order to the child process, follow it, store the outcome."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from worker.contracts.artifacts import AnyCheckpoint
from worker.contracts.errors import LeaseLost, NotFound
from worker.contracts.messages import (
    Done,
    Failed,
    Interrupted,
    IterationReport,
    LogReport,
    NetworkDone,
    PartDone,
    PredictDone,
    ProgressReport,
    RoundPlanned,
    StepReport,
    TrialReport,
    TuneDone,
)
from worker.contracts.resources import JobError
from worker.shell.child import Child, Died
from worker.shell.lease import Lease
from worker.shell.orders import build_order
from worker.store import jobs
from worker.store.jobs import parts
from worker.store.jobs.claims import Claim
from worker.telemetry import metrics

if TYPE_CHECKING:
    from worker.shell.supervisor import Supervisor

log = structlog.get_logger()

T = TypeVar("T")
LOOK_SECONDS = 0.2
RETRY_SECONDS = 0.5
POSTPONE_SECONDS = 5.0
"""A worker waits this long after a job that failed for lack of storage."""


class Attempt:
    """One claimed job, from order to outcome. Every write names the attempt's token."""

    def __init__(self, supervisor: "Supervisor", claim: Claim, lease: Lease) -> None:
        self._supervisor = supervisor
        self._database = supervisor.database
        self._claim = claim
        self._lease = lease
        self._checkpoint = claim.checkpoint
        self._reports = 0

    def run(self) -> str:
        """Return the outcome in one or two words.

        Raises:
            LeaseLost: another attempt owns the job, or may own it.
        """
        if self._claim.cancel_requested:
            return self._cancel()
        try:
            order = build_order(self._claim, self._supervisor.settings.part_seconds)
        except NotFound as error:
            return self._fail(JobError(type=error.code, detail=error.detail))
        except ValidationError as error:
            log.exception("no order can be made of the job's row")
            return self._fail(JobError.internal(error))
        child = self._supervisor.warm_child()
        child.order(order)
        return self._follow(child)

    def _follow(self, child: Child) -> str:
        limit = self._supervisor.settings.job_seconds
        ends_at = None if limit is None else time.monotonic() + limit
        while True:
            self._supervisor.touch()
            answer = child.receive(LOOK_SECONDS)
            if self._lease.lost.is_set() or self._lease.silent():
                raise LeaseLost(f"{self._claim.row_id} has another owner")
            if self._lease.cancelled.is_set():
                return self._cancel()
            if isinstance(answer, Done):
                return self._succeed(answer)
            if isinstance(answer, PartDone):
                return self._succeed_part(answer)
            if isinstance(answer, RoundPlanned):
                return self._plan_round(answer)
            if isinstance(answer, Failed):
                return self._fail(answer.error)
            if isinstance(answer, Interrupted):
                return self._postpone(answer.error)
            if isinstance(answer, Died):
                return self._lose(answer.reason)
            if answer is not None:
                self._record(answer)
            if ends_at is not None and time.monotonic() > ends_at:
                self._supervisor.end_child()
                return self._fail(JobError(type="time_limit", detail=f"the job ran longer than {limit} seconds"))
            if self._supervisor.stopping.is_set():
                return self._release()

    def _record(self, answer: ProgressReport | IterationReport | TrialReport | StepReport | LogReport) -> None:
        self._reports += 1
        if isinstance(answer, ProgressReport):
            self._write(lambda: self._save(progress=answer.progress))
        elif self._claim.work is not None:
            # a part has no events of its own, and its checkpoints are its job's
            log.info("a part reports", kind=answer.kind)
        elif isinstance(answer, LogReport):
            self._write(lambda: self._save(events=[answer.data]))
        else:
            self._write(
                lambda: self._save(
                    progress=answer.progress,
                    metrics=answer.metrics,
                    events=[answer.data],
                    checkpoint=answer.checkpoint,
                )
            )
            self._drop_old_checkpoint(answer.checkpoint)

    def _save(self, **changes: object) -> None:
        jobs.record(
            self._database,
            self._claim.row_id,
            self._claim.token,
            self._supervisor.now(),
            report=self._reports,
            **changes,  # type: ignore[arg-type]
        )

    def _drop_old_checkpoint(self, checkpoint: AnyCheckpoint) -> None:
        """Delete the files that only the previous checkpoint needed; no row refers to them any more."""
        old, self._checkpoint = self._checkpoint, checkpoint
        if old is not None:
            try:
                for key in old.keys - checkpoint.keys:
                    self._supervisor.artifacts.delete(key)
            except OSError as error:
                # the sweeper deletes them later
                log.warning("old checkpoint not deleted", error=type(error).__name__)

    def _drop_checkpoints(self) -> None:
        """Delete checkpoints and what parts made. The results are stored, so errors of storage are only logged."""
        try:
            self._supervisor.artifacts.delete_prefix(f"jobs/{self._claim.job_id}")
        except OSError as error:
            log.warning("checkpoints not deleted", error=type(error).__name__)

    def _succeed(self, answer: Done) -> str:
        now = self._supervisor.now
        claim = self._claim
        if isinstance(answer, PredictDone | NetworkDone):
            kept = self._write(
                lambda: jobs.succeed_with_file(self._database, claim.row_id, claim.token, answer.file, now())
            )
        else:
            done, file = (answer.fit, answer.file) if isinstance(answer, TuneDone) else (answer, None)
            model = self._write(lambda: jobs.succeed_fit(self._database, claim.row_id, claim.token, done, now(), file))
            kept = model is not None
        if not kept:
            # a cancel came first; a retry goes on from the checkpoint
            return "cancelled"
        self._drop_checkpoints()
        return "succeeded"

    def _succeed_part(self, answer: PartDone) -> str:
        claim, now = self._claim, self._supervisor.now
        ready = self._write(lambda: parts.succeed_part(self._database, claim.row_id, claim.token, answer, now()))
        if ready is not None:
            self._supervisor.announce(ready)
        return "succeeded"

    def _plan_round(self, answer: RoundPlanned) -> str:
        """Have the job wait for parts, of which this worker takes the first as soon as it looks."""
        claim, now = self._claim, self._supervisor.now
        planned = self._write(lambda: parts.plan_round(self._database, claim.row_id, claim.token, answer, now()))
        if planned and answer.checkpoint is not None:
            # a job that was cancelled instead still names the one before
            self._drop_old_checkpoint(answer.checkpoint)
        for row_id in planned:
            if not self._supervisor.announce(row_id):
                # each try would wait for the broker again; this worker takes parts without a message
                break
        return "planned"

    def _fail(self, error: JobError) -> str:
        if error.type == "internal":
            # the state of the child is unknown
            self._supervisor.end_child()
        claim = self._claim
        self._write(lambda: jobs.fail(self._database, claim.row_id, claim.token, error, self._supervisor.now()))
        return f"failed: {error.type}"

    def _cancel(self) -> str:
        self._supervisor.end_child()
        claim = self._claim
        self._write(lambda: jobs.cancel_running(self._database, claim.row_id, claim.token, self._supervisor.now()))
        return "cancelled"

    def _release(self) -> str:
        self._supervisor.end_child()
        claim = self._claim
        reason = "the worker was stopped"
        released = self._write(
            lambda: jobs.release(self._database, claim.row_id, claim.token, self._supervisor.now(), reason)
        )
        if released == "queued":
            self._supervisor.announce(claim.row_id)
        return "given back"

    def _lose(self, reason: str) -> str:
        self._supervisor.end_child()
        claim = self._claim
        most = self._supervisor.settings.max_lost_attempts
        self._write(lambda: jobs.lose(self._database, claim.row_id, claim.token, self._supervisor.now(), reason, most))
        return f"lost: {reason}"

    def _postpone(self, error: JobError) -> str:
        """Requeue the job after a pause in which the obstacle may end; it counts as a lost attempt."""
        self._supervisor.stopping.wait(POSTPONE_SECONDS)
        claim, now = self._claim, self._supervisor.now
        most = self._supervisor.settings.max_lost_attempts
        self._write(lambda: jobs.lose(self._database, claim.row_id, claim.token, now(), error.detail, most, error.type))
        return f"put off: {error.type}"

    def _write(self, step: Callable[[], T]) -> T:
        """Do ``step``, and retry while the database cannot be reached and the lease lasts."""
        while True:
            try:
                return step()
            except LeaseLost:
                metrics.FENCED_WRITES.inc()
                raise
            except OperationalError as error:
                self._supervisor.touch()
                log.warning("database out of reach", error=type(error).__name__)
                if self._lease.lost.wait(RETRY_SECONDS):
                    raise LeaseLost(f"the database was out of reach for the whole lease: {error}") from error
