"""The only Celery task: it takes a job's id and returns nothing."""

from celery import Celery

from worker.contracts.messages import LOOK_AT_JOB
from worker.shell.supervisor import Supervisor


def register_tasks(app: Celery, supervisor: Supervisor) -> None:
    """Register the task that makes the supervisor look at a job."""

    @app.task(name=LOOK_AT_JOB, ignore_result=True)  # type: ignore[untyped-decorator]
    def look_at_job(job_id: str) -> None:
        supervisor.look_at(job_id)
