"""Contents of the result files that are JSON documents."""

from typing import Any

from pydantic import Field

from worker.contracts.base import Contract, Task
from worker.contracts.events import StepData, TrialData


def search_metric(task: Task) -> str:
    """Return the name of the metric that compares the trials of a search."""
    return "validation_brier" if task == "classification" else "validation_rmse"


class TuneResult(Contract):
    """Every trial of a search. The best is the complete one with the least validation loss; it became the model."""

    metric: str = Field(description="The metric to compare trials by; lower is better.")
    best: int = Field(description="The best trial, counted from 1.")
    spec: dict[str, Any] = Field(description="The best trial's whole spec.")
    metrics: dict[str, float] = Field(description="The best trial's.")
    validation_chose: list[str] = Field(
        default_factory=list,
        description="What validation rows chose by these figures, which are a little too good then.",
    )
    trials: list[TrialData] = Field(description="In the order in which they ran.")


class Trials(Contract):
    """The trials of a search that have ended so far, with the fields of the search result."""

    metric: str = Field(description="The metric to compare trials by; lower is better.")
    best: int | None = Field(description="The best complete trial so far, counted from 1. Null before one is complete.")
    metrics: dict[str, float] = Field(description="The best trial's.")
    validation_chose: list[str] = Field(
        default_factory=list,
        description="What validation rows chose by these figures, which are a little too good then.",
    )
    trials: list[TrialData] = Field(description="In the order in which they ran.")


class NetworkReport(Contract):
    """How well a network's layers agree with the theorem, from the first weights to the last."""

    task: Task
    spec: dict[str, Any]
    rows: int = Field(description="Rows that trained.")
    dropped_rows: int = Field(0, description="Rows of the dataset without a target, which were left out.")
    dropped_validation_rows: int = Field(0, description="The same of the dataset of the validation rows.")
    features: list[str] = Field(description="The encoded columns: the inputs of layer 1.")
    steps: list[StepData]
