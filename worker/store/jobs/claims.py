"""The claim of a job by a worker."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from worker.contracts.artifacts import AnyCheckpoint, ArtifactRef, TableRef
from worker.contracts.base import Task
from worker.contracts.messages import Origin
from worker.contracts.requests import AnyRequest, JobRequest, TableRequest
from worker.contracts.resources import JobKind
from worker.store import datasets, models
from worker.store.schema.tables import DatasetRow, JobRow, ModelRow

REQUESTS: TypeAdapter[AnyRequest] = TypeAdapter(JobRequest)
CHECKPOINTS: TypeAdapter[AnyCheckpoint | None] = TypeAdapter(AnyCheckpoint | None)


@dataclass(frozen=True)
class Claim:
    """A job that one attempt owns. Every write about it names ``token``.

    ``task``: of a training. ``model``: the file of the model of a predict job. ``checkpoint``: where to resume.
    """

    job_id: str
    token: str
    attempt: int
    kind: JobKind
    request: AnyRequest
    task: Task | None
    table: TableRef
    validation: TableRef | None
    model: ArtifactRef | None
    checkpoint: AnyCheckpoint | None
    cancel_requested: bool
    origin: Origin
    expected_seconds: float | None


def load_claim(session: Session, job: JobRow, token: str) -> Callable[[], Claim]:
    """Read the rows of a claimed job, and return a function that builds the claim.

    Call it after the commit: a row that this version cannot read then fails the job, instead of rolling back the claim
    for ever.
    """
    # a queued or running job holds its dataset and model, so these rows exist
    table = session.get_one(DatasetRow, job.dataset_id)
    validation = None if job.validation_id is None else session.get_one(DatasetRow, job.validation_id)
    model = None if job.held_model_id is None else session.get_one(ModelRow, job.held_model_id)

    def made() -> Claim:
        request = REQUESTS.validate_python(job.request)
        return Claim(
            job_id=job.id,
            token=token,
            attempt=job.attempt,
            kind=request.kind,
            request=request,
            task=request.task if isinstance(request, TableRequest) and request.task != "auto" else None,
            table=datasets.to_record(table).table_ref,
            validation=None if validation is None else datasets.to_record(validation).table_ref,
            model=None if model is None else models.to_record(model).model,
            checkpoint=CHECKPOINTS.validate_python(job.checkpoint),
            cancel_requested=job.cancel_requested,
            origin=Origin(project=job.project, request_id=job.request_id, traceparent=job.traceparent),
            expected_seconds=(job.estimate or {}).get("seconds"),
        )

    return made
