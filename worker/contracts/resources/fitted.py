"""What the row of a model holds."""

from typing import Any, Literal

from pydantic import Field

from worker.contracts.base import Contract, Label, Task
from worker.contracts.resources.datasets import DroppedColumn
from worker.contracts.resources.models import ChosenBy, FoldFigures, HeatSummary, IterationSummary, ModelColumn


class FittedModelSummary(Contract):
    """Content of a model's row beside its name, version and origin."""

    task: Task
    classes: list[Label] | None = None
    features: list[ModelColumn]
    targets: list[ModelColumn]
    encoded_names: list[str]
    encoded_sources: list[str] = Field(description="The original column of each encoded one.")
    spec: dict[str, Any]
    metrics: dict[str, float]
    validation: FoldFigures | None = None
    chosen_by: ChosenBy | None = None
    validation_chose: list[str] | None = Field(None, description="None in rows of before.")
    left_out_chose: list[str] | None = Field(None, description="None in rows of before.")
    iteration: int
    iterations: int
    ridge: float
    bandwidth: float | None = None
    precision: str
    solver: str | None = None
    refitted: bool = False
    choices: list[HeatSummary] = Field(default_factory=list)
    training_rows: int
    dropped: tuple[int, int] = Field((0, 0), description="Rows without a target, also of the validation dataset.")
    left_out: list[DroppedColumn] = Field(default_factory=list, description="See ``Model``.")
    weights: str | None = Field(None, exclude_if=lambda name: name is None, description="See ``Model``.")
    class_weight: Literal["balanced"] | dict[str, float] | None = Field(None, exclude_if=lambda weight: weight is None)
    weightless_rows: int = Field(0, exclude_if=lambda rows: rows == 0)
    history: list[IterationSummary]
    versions: dict[str, str] = Field(default_factory=dict)
