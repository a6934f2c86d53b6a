"""What the processes say to each other: service to worker, supervisor to child, child to supervisor."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from worker.contracts.base import Contract, Label, Task
from worker.contracts.events import IterationData, LogData
from worker.contracts.resources import Column, IterationSummary, JobError, ModelColumn, Progress
from worker.contracts.specs import FitRequest, PredictRequest

LOOK_AT_JOB = "worker.look_at_job"
"""Name of the one Celery task. Its only argument is a job's id; it means: look whether this job wants a worker."""


class ArtifactRef(Contract):
    """A file in storage: its key, checksum and length in bytes."""

    key: str
    sha256: str
    bytes: int


class TableRef(Contract):
    """A dataset's typed table in storage."""

    dataset: str
    table: ArtifactRef
    rows: int
    columns: list[Column]


class Checkpoint(Contract):
    """Where a fit may go on: after ``iteration`` (of ``fold``, counting from 1, in a cross-validation)."""

    iteration: int
    fold: int | None = None
    newest: ArtifactRef
    best: ArtifactRef
    matrices: list[ArtifactRef] = Field(description="M of every iteration so far, in order.")


class FitOrder(Contract):
    """A fit for the child to run. Everything it writes goes under ``prefix``."""

    kind: Literal["fit"] = "fit"
    job: str
    prefix: str
    request: FitRequest
    task: Task
    table: TableRef
    validation: TableRef | None = None
    checkpoint: Checkpoint | None = None


class PredictOrder(Contract):
    """A batch prediction for the child to run."""

    kind: Literal["predict"] = "predict"
    job: str
    prefix: str
    request: PredictRequest
    model: ArtifactRef
    table: TableRef


Order = Annotated[FitOrder | PredictOrder, Field(discriminator="kind")]


class ProgressReport(Contract):
    kind: Literal["progress"] = "progress"
    progress: Progress


class IterationReport(Contract):
    """One iteration is done and its checkpoint is in storage."""

    kind: Literal["iteration"] = "iteration"
    progress: Progress
    data: IterationData
    checkpoint: Checkpoint


class LogReport(Contract):
    kind: Literal["log"] = "log"
    data: LogData


class FittedModelSummary(Contract):
    """What the model row holds beside its name, version and origin."""

    task: Task
    classes: list[Label] | None = None
    features: list[ModelColumn]
    targets: list[ModelColumn]
    encoded_names: list[str]
    encoded_sources: list[str] = Field(description="The original column of each encoded one.")
    spec: dict[str, Any]
    metrics: dict[str, float]
    iteration: int
    iterations: int
    ridge: float
    bandwidth: float | None = None
    precision: str
    training_rows: int
    history: list[IterationSummary]


class FitDone(Contract):
    """The model and the matrices of its history are in storage."""

    kind: Literal["fit_done"] = "fit_done"
    model: ArtifactRef
    matrices: ArtifactRef
    summary: FittedModelSummary


class PredictDone(Contract):
    kind: Literal["predict_done"] = "predict_done"
    result: ArtifactRef
    media_type: str
    rows: int


class Failed(Contract):
    """The run cannot succeed; trying again would fail in the same way."""

    kind: Literal["failed"] = "failed"
    error: JobError


Report = Annotated[
    ProgressReport | IterationReport | LogReport | FitDone | PredictDone | Failed, Field(discriminator="kind")
]

ORDERS: TypeAdapter[FitOrder | PredictOrder] = TypeAdapter(Order)
REPORTS: TypeAdapter[ProgressReport | IterationReport | LogReport | FitDone | PredictDone | Failed] = TypeAdapter(
    Report
)
