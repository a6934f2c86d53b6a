"""What happens to a job, as its followers see it: closed, typed, numbered."""

from typing import Annotated, Literal

from pydantic import Field

from worker.contracts.base import Contract, UtcDatetime
from worker.contracts.resources import JobError, JobState


class StateData(Contract):
    """The job entered a state."""

    state: JobState
    attempt: int
    reason: str | None = None
    error: JobError | None = None
    model: str | None = None


class IterationData(Contract):
    """One solve and one update are done. In a cross-validation ``fold`` counts from 1."""

    iteration: int
    iterations: int
    metrics: dict[str, float]
    ridge: float
    bandwidth: float | None = None
    trace: float
    effective_rank: float
    top: list[str] = Field(description="The encoded columns with the largest diagonal entries of M.")
    seconds: float
    eta_seconds: float | None = None
    fold: int | None = None


class LogData(Contract):
    """A remark about the run."""

    level: Literal["info", "warning"] = "info"
    message: str


class StateEvent(Contract):
    seq: int
    type: Literal["state"] = "state"
    created_at: UtcDatetime
    data: StateData


class IterationEvent(Contract):
    seq: int
    type: Literal["iteration"] = "iteration"
    created_at: UtcDatetime
    data: IterationData


class LogEvent(Contract):
    seq: int
    type: Literal["log"] = "log"
    created_at: UtcDatetime
    data: LogData


EventData = StateData | IterationData | LogData
Event = Annotated[StateEvent | IterationEvent | LogEvent, Field(discriminator="type")]
