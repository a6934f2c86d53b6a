"""Events of a job as its subscribers see them: closed, typed, numbered."""

from typing import Annotated, Literal

from pydantic import Field

from worker.contracts.base import Contract, UtcDatetime
from worker.contracts.resources import JobError, JobState
from worker.contracts.search import OptionValue


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
    top: list[str] = Field(description="The encoded columns with the largest shares of the distance between rows.")
    seconds: float
    eta_seconds: float | None = None
    fold: int | None = None


class TrialData(Contract):
    """A trial of a search has ended. Its metrics are those of its best iteration, averaged over folds."""

    trial: int = Field(description="Counts from 1; the first is the spec as it was given.")
    trials: int
    state: Literal["complete", "pruned", "failed"] = Field(
        description="pruned: stopped early, as its validation loss was not among the best of earlier trials by then."
    )
    reason: str | None = Field(None, description="Why it failed, or that an earlier trial had the same options.")
    params: dict[str, OptionValue] = Field(description="What the trial set in the spec.")
    iteration: int | None = Field(None, description="The iteration with the least validation loss.")
    iterations: int = Field(description="How many iterations ran, the first of them not counted.")
    metrics: dict[str, float] = Field(default_factory=dict)
    losses: list[tuple[float, ...]] = Field(
        description="What chose between iterations and trials: the validation loss after each iteration, lower is "
        "better, parts in order of weight."
    )
    seconds: float
    eta_seconds: float | None = None


class LayerData(Contract):
    """How a layer's statistics agree with its weights W (outputs × inputs): Pearson correlations, null where undefined.

    All but ``bfact`` are with WᵀW, ``bfact`` is with WWᵀ.
    """

    layer: int = Field(description="Counts from 1, from the inputs on.")
    inputs: int
    outputs: int
    fact: float | None
    fact_symmetrised: float | None = Field(description="Of (FACT FACTᵀ)^½.")
    bfact: float | None
    agop: float | None
    agop_root: float | None = Field(description="Of AGOP^½.")
    enfa: float | None
    enfa_root: float | None = Field(description="Of eNFA^½.")
    residual_gradient: float | None = Field(
        description="‖∇_W‖ / (λ‖W‖) of the objective: 0 where the theorem holds exactly."
    )
    weight_norm: float


class StepData(Contract):
    """A network after some steps of training: ``loss`` is the mean over the rows, ``penalty`` (λ/2) Σ‖W‖²."""

    step: int
    steps: int
    loss: float
    penalty: float
    metrics: dict[str, float]
    layers: list[LayerData]
    seconds: float
    eta_seconds: float | None = None


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


class TrialEvent(Contract):
    seq: int
    type: Literal["trial"] = "trial"
    created_at: UtcDatetime
    data: TrialData


class StepEvent(Contract):
    seq: int
    type: Literal["step"] = "step"
    created_at: UtcDatetime
    data: StepData


class LogEvent(Contract):
    seq: int
    type: Literal["log"] = "log"
    created_at: UtcDatetime
    data: LogData


EventData = StateData | IterationData | TrialData | StepData | LogData
Event = Annotated[StateEvent | IterationEvent | TrialEvent | StepEvent | LogEvent, Field(discriminator="type")]
