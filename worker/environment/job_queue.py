"""Sending of job ids to the workers, to a Celery task known by its name."""

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from worker.contracts.messages import LOOK_AT_JOB

log = structlog.get_logger()

CONNECT_SECONDS = 2.0


class JobQueue:
    """The producer's side of the broker, for API and workers. The reconciler resends messages that cannot be sent."""

    def __init__(self, redis_url: str, queue: str) -> None:
        self._app = Celery("factrfm", broker=redis_url, set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            task_default_queue=queue,
            broker_connection_timeout=CONNECT_SECONDS,
            broker_transport_options={
                "socket_connect_timeout": CONNECT_SECONDS,
                "socket_timeout": CONNECT_SECONDS,
                # one try: neither a request nor a worker that holds a job may wait for an unreachable broker
                "max_retries": 1,
                "interval_start": 0,
                "interval_step": 0,
            },
        )

    def send(self, job_id: str) -> bool:
        """Send a job id to the workers. Return whether the broker took the message."""
        try:
            self._app.send_task(LOOK_AT_JOB, args=[job_id], retry=False)
        except OperationalError as error:
            log.warning("message not sent", job_id=job_id, error=type(error).__name__)
            return False
        return True

    def check(self) -> None:
        """Check the connection to the broker.

        Raises:
            OperationalError: the broker did not answer.
        """
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=0, timeout=CONNECT_SECONDS)
            connection.default_channel.client.ping()

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
