"""The Celery worker: one process that receives job ids and supervises one training at a time.

Start it with ``python -m worker.app``. The worker's flags are part of the design and are set here: one thread
supervises (the computation runs in a child process), gossip and mingle are off (with them a worker that reconnects
may stop consuming, celery/celery#10302), and no message is prefetched behind a running job.
"""

import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

import structlog
from celery import Celery, signals

from worker.environment.job_queue import JobQueue
from worker.settings import WorkerSettings
from worker.shell.liveness import MessageLoop
from worker.shell.supervisor import Supervisor, utc_now
from worker.shell.tasks import register_tasks
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.telemetry.heartbeat import emit_heartbeats, heartbeat_folder
from worker.telemetry.logs import configure_logging
from worker.telemetry.metrics import serve_metrics
from worker.telemetry.tracing import Tracing

log = structlog.get_logger()


def create_celery(settings: WorkerSettings) -> Celery:
    """Return a Celery application that speaks JSON only and keeps no results."""
    app = Celery("factrfm", broker=settings.redis_address, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        event_serializer="json",
        task_ignore_result=True,
        task_default_queue=settings.queue,
        # The database row holds the job, and the message is only a hint: early acknowledgement loses nothing, and
        # late acknowledgement would redeliver while a healthy task runs (celery/celery#5935).
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        enable_utc=True,
    )
    return app


@contextmanager
def _heartbeats(settings: WorkerSettings, find_fault: Callable[[], str | None]) -> Iterator[None]:
    """Emit heartbeats while the block runs. If they cannot be written, the worker runs without them."""
    with ExitStack() as stack:
        try:
            stack.enter_context(emit_heartbeats(heartbeat_folder(settings.home, settings.queue), find_fault))
        except OSError as error:
            log.warning("no signs of life are given, so 'factrfm check --worker' finds no worker", error=str(error))
        yield


def main(now: Callable[[], datetime] = utc_now) -> int:
    """Run a worker until it receives a stop signal. ``now`` is the clock of its leases."""
    settings = WorkerSettings()
    configure_logging(settings.log_level, settings.log_format)
    database = Database(settings.database_address)
    database.migrate()
    name = f"{platform.node()}-{os.getpid()}"
    app = create_celery(settings)
    job_queue = JobQueue(settings.redis_address, settings.queue)
    tracing = Tracing.start("factrfm-worker", bool(settings.otlp_endpoint))
    supervisor = Supervisor(
        settings,
        database,
        Artifacts(settings.storage_address),
        worker=name,
        now=now,
        announce=job_queue.send,
        tracing=tracing,
    )
    register_tasks(app, supervisor)
    loop = MessageLoop()
    app.steps["consumer"].add(loop.step())
    signals.worker_shutting_down.connect(lambda **_: supervisor.stop(), weak=False)
    # until Celery takes the signal over
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        # to load torch takes seconds, which the first job does not wait for
        supervisor.warm_child()
        with (
            serve_metrics(settings.metrics_host, settings.metrics_port),
            _heartbeats(settings, lambda: loop.fault() or supervisor.fault()),
        ):
            app.worker_main(
                [
                    "worker",
                    "--pool=threads",
                    "--concurrency=1",
                    "--without-gossip",
                    "--without-mingle",
                    f"--queues={settings.queue}",
                    f"--hostname=factrfm-{os.getpid()}@%h",
                    f"--loglevel={settings.log_level}",
                ]
            )
    finally:
        supervisor.close()
        job_queue.close()
        database.dispose()
        tracing.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
