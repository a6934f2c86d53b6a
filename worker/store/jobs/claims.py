"""The claim of a job by a worker."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from worker.contracts.artifacts import AnyCheckpoint, ArtifactRef, TableRef
from worker.contracts.base import Task
from worker.contracts.messages import Origin
from worker.contracts.parts import PartKind, PartOutcome, PartWork
from worker.contracts.requests import AnyRequest, JobRequest, TableRequest
from worker.contracts.resources import JobKind
from worker.store import datasets, models
from worker.store.jobs.rows import of_round
from worker.store.schema.tables import DatasetRow, JobRow, ModelRow

REQUESTS: TypeAdapter[AnyRequest] = TypeAdapter(JobRequest)
WORK: TypeAdapter[PartWork] = TypeAdapter(PartWork)
CHECKPOINTS: TypeAdapter[AnyCheckpoint | None] = TypeAdapter(AnyCheckpoint | None)


@dataclass(frozen=True)
class Claim:
    """A job that one attempt owns. Every write about it names ``token``.

    ``task`` is that of a training, ``model`` the file of the model that a predict job uses; ``checkpoint`` is where to
    go on. Of a part, ``row_id`` is its own id, ``work`` what it is to do, and everything else its job's; of a job with
    parts, ``round`` and ``outcomes`` are what the last of its rounds made.
    """

    row_id: str
    job_id: str
    token: str
    attempt: int
    kind: JobKind | PartKind
    request: AnyRequest
    task: Task | None
    table: TableRef
    validation: TableRef | None
    model: ArtifactRef | None
    checkpoint: AnyCheckpoint | None
    cancel_requested: bool
    origin: Origin
    expected_seconds: float | None
    work: PartWork | None = None
    round: int = 0
    outcomes: tuple[PartOutcome, ...] = ()


def load_claim(session: Session, row: JobRow, token: str) -> Callable[[], Claim]:
    """Read the rows of a claimed job or part, and return what makes the claim of them.

    Call it after the commit: a row that this version cannot read then fails the job, instead of rolling back the claim
    for ever.
    """
    job = row if row.parent_id is None else session.get_one(JobRow, row.parent_id)
    # What has not ended holds its dataset and model, so these rows exist.
    table = session.get_one(DatasetRow, job.dataset_id)
    validation = None if job.validation_id is None else session.get_one(DatasetRow, job.validation_id)
    model = None if job.held_model_id is None else session.get_one(ModelRow, job.held_model_id)
    succeeded = of_round(row.id, row.round).where(JobRow.state == "succeeded")
    has_parts = row is job and row.round > 0
    made_by_parts = [(part.number, part.result) for part in session.scalars(succeeded)] if has_parts else []

    def made() -> Claim:
        request = REQUESTS.validate_python(job.request)
        work = None if row is job else WORK.validate_python(row.request)
        return Claim(
            row_id=row.id,
            job_id=job.id,
            token=token,
            attempt=row.attempt,
            kind=request.kind if work is None else work.kind,
            request=request,
            task=request.task if isinstance(request, TableRequest) and request.task != "auto" else None,
            table=datasets.to_record(table).table_ref,
            validation=None if validation is None else datasets.to_record(validation).table_ref,
            model=None if model is None else models.to_record(model).model,
            checkpoint=CHECKPOINTS.validate_python(row.checkpoint),
            cancel_requested=row.cancel_requested,
            origin=Origin(project=job.project, request_id=job.request_id, traceparent=job.traceparent),
            expected_seconds=None if work is not None else (job.estimate or {}).get("seconds"),
            work=work,
            round=row.round,
            outcomes=tuple(
                PartOutcome.model_validate({"number": number, "result": result}) for number, result in made_by_parts
            ),
        )

    return made
