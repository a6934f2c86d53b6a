"""Messages between processes: service to worker, supervisor to child, child to supervisor."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from worker.contracts.artifacts import (
    AnyCheckpoint,
    ArtifactRef,
    BlocksCheckpoint,
    Checkpoint,
    ChoosingCheckpoint,
    FoldsCheckpoint,
    NetworkCheckpoint,
    ResultFile,
    TableRef,
    TuneCheckpoint,
)
from worker.contracts.base import Contract, Task
from worker.contracts.events import IterationData, LogData, StepData, TrialData
from worker.contracts.parts import (
    BlockWork,
    CandidateWork,
    FoldWork,
    LeafWork,
    MachineWork,
    PartOutcome,
    PartResult,
    PartWork,
    RowsWork,
    TrialWork,
)
from worker.contracts.requests import FitRequest, NetworkRequest, PredictRequest, TuneRequest
from worker.contracts.resources import JobError, Progress
from worker.contracts.resources.fitted import FittedModelSummary

LOOK_AT_JOB = "worker.look_at_job"
"""Name of the only Celery task. Its argument is a job's id; it asks a worker to check whether the job is queued."""


class Origin(Contract):
    """Where a job comes from: its project, the request that queued it, and its place in a trace (W3C traceparent)."""

    project: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


class Order(Contract):
    """Fields of every order to the child. A run writes all its files under ``prefix``.

    ``attempt`` and ``origin`` have no defaults: without them the logs of the run would name the wrong attempt.
    """

    job: str
    attempt: int
    origin: Origin
    prefix: str
    expected_seconds: float | None = None


class RoundsOrder(Order):
    """Fields of an order of a job that may plan rounds of parts.

    ``outcomes``: of the parts of ``round``, the last one, which all have ended.
    """

    round: int = 0
    outcomes: list[PartOutcome] = Field(default_factory=list)


class TrainingOrder(Order):
    """An order to learn from a table."""

    task: Task
    table: TableRef
    validation: TableRef | None = None


class FitOrder(RoundsOrder, TrainingOrder):
    """A fit for the child to run, or to go on with. ``part_seconds``: longer folds become parts, None: none does."""

    kind: Literal["fit"] = "fit"
    request: FitRequest
    checkpoint: Checkpoint | FoldsCheckpoint | None = None
    part_seconds: float | None = None


class BlocksOrder(RoundsOrder, TrainingOrder):
    """A fit by blocks for the child to go on with."""

    kind: Literal["blocks"] = "blocks"
    request: FitRequest
    checkpoint: BlocksCheckpoint | ChoosingCheckpoint | None = None


class TuneOrder(RoundsOrder, TrainingOrder):
    """A search for the child to go on with."""

    kind: Literal["tune"] = "tune"
    request: TuneRequest
    checkpoint: TuneCheckpoint | ChoosingCheckpoint | None = None


class CandidateOrder(Order):
    """A short run of a candidate for the child, a part of the job."""

    kind: Literal["candidate"] = "candidate"
    work: CandidateWork


class BlockOrder(Order):
    """A block for the child to solve, a part of the job."""

    kind: Literal["block"] = "block"
    work: BlockWork


class MachineOrder(Order):
    """A block's kernel machine for the child to fit, a part of the job."""

    kind: Literal["machine"] = "machine"
    work: MachineWork


class LeafOrder(Order):
    """A leaf for the child to fit, a part of the job."""

    kind: Literal["leaf"] = "leaf"
    work: LeafWork


class TrialOrder(TrainingOrder):
    """One trial of a search for the child to run, a part of the job."""

    kind: Literal["trial"] = "trial"
    request: TuneRequest
    work: TrialWork


class FoldOrder(TrainingOrder):
    """One fold of a cross-validation for the child to fit, a part of the job."""

    kind: Literal["fold"] = "fold"
    request: FitRequest
    work: FoldWork


class NetworkOrder(TrainingOrder):
    """A network for the child to train."""

    kind: Literal["network"] = "network"
    request: NetworkRequest
    checkpoint: NetworkCheckpoint | None = None


class PredictingOrder(Order):
    """An order to predict rows of a table."""

    request: PredictRequest
    model: ArtifactRef
    table: TableRef


class PredictOrder(RoundsOrder, PredictingOrder):
    """A batch prediction for the child to run, or to go on with.

    ``part_seconds``: rows that take longer are divided into parts, None: they are not.
    """

    kind: Literal["predict"] = "predict"
    part_seconds: float | None = None


class RowsOrder(PredictingOrder):
    """Some rows of a batch prediction for the child to predict, a part of the job."""

    kind: Literal["rows"] = "rows"
    work: RowsWork


AnyOrder = (
    FitOrder
    | BlocksOrder
    | TuneOrder
    | CandidateOrder
    | TrialOrder
    | FoldOrder
    | RowsOrder
    | BlockOrder
    | MachineOrder
    | LeafOrder
    | NetworkOrder
    | PredictOrder
)


class Reported(Contract):
    """Progress of a job, and the fraction that the next report will have."""

    progress: Progress
    next_fraction: float = 1.0


class ProgressReport(Reported):
    """The job has entered another stage, or advanced in it."""

    kind: Literal["progress"] = "progress"


class IterationReport(Reported):
    """One iteration is done and its checkpoint is in storage."""

    kind: Literal["iteration"] = "iteration"
    data: IterationData
    checkpoint: AnyCheckpoint

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics for the job's row."""
        return self.data.metrics


class TrialReport(Reported):
    """One trial has ended and the list of trials is in storage. ``metrics``: of the best trial so far."""

    kind: Literal["trial"] = "trial"
    metrics: dict[str, float]
    data: TrialData
    checkpoint: TuneCheckpoint


class StepReport(Reported):
    """A network has been evaluated and its state is in storage."""

    kind: Literal["step"] = "step"
    data: StepData
    checkpoint: NetworkCheckpoint

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics for the job's row."""
        return self.data.metrics


class RoundPlanned(Contract):
    """The job goes on when these parts have ended. Planned again, a round keeps the parts of it that succeeded.

    ``metrics``: what the job's row shows.
    """

    kind: Literal["round"] = "round"
    round: int
    parts: list[PartWork]
    progress: Progress
    metrics: dict[str, float] = Field(default_factory=dict)
    checkpoint: AnyCheckpoint | None


class PartDone(Contract):
    """A part of a job has ended."""

    kind: Literal["part_done"] = "part_done"
    result: PartResult


class LogReport(Contract):
    kind: Literal["log"] = "log"
    data: LogData


class FitDone(Contract):
    """The model and the matrices of its history are in storage."""

    kind: Literal["fit_done"] = "fit_done"
    model: ArtifactRef
    matrices: ArtifactRef
    summary: FittedModelSummary


class TuneDone(Contract):
    """The model of the best trial is in storage, and the list of all trials."""

    kind: Literal["tune_done"] = "tune_done"
    fit: FitDone
    file: ResultFile


class NetworkDone(Contract):
    """The report of a network is in storage."""

    kind: Literal["network_done"] = "network_done"
    file: ResultFile


class PredictDone(Contract):
    kind: Literal["predict_done"] = "predict_done"
    file: ResultFile
    rows: int


class Failed(Contract):
    """The run cannot succeed; a retry would fail in the same way."""

    kind: Literal["failed"] = "failed"
    error: JobError


class Interrupted(Contract):
    """The run stopped for an external reason, such as a full disk; a retry may succeed."""

    kind: Literal["interrupted"] = "interrupted"
    error: JobError


Done = FitDone | TuneDone | NetworkDone | PredictDone
Ending = Done | PartDone | RoundPlanned
"""What a run ends with that has not failed."""
AnyReport = ProgressReport | IterationReport | TrialReport | StepReport | LogReport | Ending | Failed | Interrupted
Report = Annotated[AnyReport, Field(discriminator="kind")]

ORDERS: TypeAdapter[AnyOrder] = TypeAdapter(Annotated[AnyOrder, Field(discriminator="kind")])
REPORTS: TypeAdapter[AnyReport] = TypeAdapter(Report)
