"""Jobs and batches as callers see them."""

from typing import Any, Literal

from pydantic import Field, ValidationError

from worker.contracts.base import Contract, Task, UtcDatetime
from worker.contracts.resources.datasets import DroppedColumn

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL_STATES: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
JobKind = Literal["fit", "tune", "network", "predict"]
MAX_NAMED_FIELDS = 3
"""Fields that the message about a program fault names."""


class PartCounts(Contract):
    """Of the parts of a job's round: how many have succeeded, how many run, how many there are."""

    done: int
    running: int
    total: int
    fraction_after: float = Field(description="How far the job is when all of them have ended.")


class Progress(Contract):
    """Progress of a job. ``fraction`` is in [0, 1]; between two reports of the run it is interpolated by time.

    ``eta_seconds``: remaining time, of a queued job without its wait; null after the end. ``trial`` counts from 1.
    """

    trial: int | None = None
    trials: int | None = None
    iteration: int | None = None
    iterations: int | None = None
    fraction: float = 0.0
    stage: str = "queued"
    eta_seconds: float | None = None
    parts: PartCounts | None = Field(
        None,
        # programs of before do not know it, and read what is stored
        exclude_if=lambda parts: parts is None,
        description="Of the round under way, where several workers share a job; else left out.",
    )


class JobError(Contract):
    """Why a job failed: a stable type and a sentence."""

    type: str = Field(
        description="Stable: the code of an error, or worker_lost, time_limit, numerical_failure, out_of_memory or "
        "internal."
    )
    detail: str

    @classmethod
    def internal(cls, error: Exception) -> "JobError":
        """Return the error that the owner of a job sees after a fault of this program.

        The texts of exceptions may hold data of others, so only those of contracts are shown.
        """
        detail = f"this program made a mistake, {type(error).__name__}"
        if isinstance(error, ValidationError):
            wrong = [f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors(include_url=False)]
            detail += f" ({'; '.join(wrong[:MAX_NAMED_FIELDS])})"
        return cls(
            type="internal", detail=f"{detail}; another try would end in the same way; the log of the worker says more"
        )


class Estimate(Contract):
    """What a job will take: peak memory in bytes, floating-point operations, and seconds on one core of a processor.

    The seconds are rough: see ``worker.training.cost``.
    """

    bytes: int
    flops: float
    seconds: float | None = None


class Job(Contract):
    """A piece of work and its state. States succeeded, failed and cancelled are final."""

    id: str
    kind: JobKind
    state: JobState
    attempt: int = Field(description="How many times the job has been started.")
    progress: Progress
    metrics: dict[str, float] = Field(
        default_factory=dict, description="So far; after its end those of the model or the report."
    )
    validation_chose: list[str] = Field(
        default_factory=list,
        description="Options, and the iteration, that the validation rows also selected: validation_ metrics are then "
        "slightly optimistic. Empty if they selected nothing.",
    )
    left_out_chose: list[str] = Field(
        default_factory=list,
        description="The same for leave_one_out_ metrics: what training rows selected, each left out in turn.",
    )
    error: JobError | None = None
    model: str | None = Field(None, description="Id of the model that a fit or tune made, or that a predict uses.")
    dataset: str
    batch: str | None = None
    request: dict[str, Any] = Field(description="The body with every default resolved.")
    estimate: Estimate | None = None
    cancel_requested: bool = False
    created_at: UtcDatetime
    started_at: UtcDatetime | None = None
    finished_at: UtcDatetime | None = None


class DryRun(Contract):
    """What a job would be, without queueing it."""

    request: dict[str, Any] = Field(description="The body with every default resolved.")
    task: Task | None = None
    rows: int = Field(description="Of the dataset.")
    dropped_rows: int = Field(
        0,
        description="Of these, rows without a target, which would be left out. Of several targets at least so many.",
    )
    left_out: list[DroppedColumn] = Field(
        default_factory=list,
        description="Columns that name rows, which would not be read: 'features' or 'columns' takes them in.",
    )
    encoded_columns: int
    outputs: int
    estimate: Estimate
    remarks: list[str] = Field(
        default_factory=list, description="What should be looked at in the columns to learn from, a sentence each."
    )


class BatchCounts(Contract):
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class Batch(Contract):
    """Jobs submitted together."""

    id: str
    counts: BatchCounts
    total: int
    jobs: list[str] = Field(description="Links to the jobs, in the order they were given.")
    created_at: UtcDatetime
