"""Models as callers see them."""

from typing import Any, Literal

from pydantic import Field

from worker.contracts.base import (
    DATE_ORDER,
    DECIMAL,
    MISSING_WORDS,
    ColumnType,
    Contract,
    DateOrder,
    DecimalMark,
    Label,
    Task,
    UtcDatetime,
)
from worker.contracts.resources.datasets import DroppedColumn

ChosenBy = Literal["validation", "folds", "leave_one_out", "last"]


class ModelColumn(Contract):
    """A feature or a target of a model."""

    name: str
    type: ColumnType
    missing_words: tuple[str, ...] | None = Field(None, description=MISSING_WORDS)
    decimal: DecimalMark | None = Field(None, description=DECIMAL)
    date_order: DateOrder | None = Field(None, description=DATE_ORDER)


class IterationSummary(Contract):
    """One iteration of a fit. ``cosine_to_next`` is between M here and M one iteration later."""

    iteration: int
    metrics: dict[str, float]
    ridge: float
    bandwidth: float | None = None
    seconds: float
    trace: float
    effective_rank: float
    cosine_to_next: float | None = None
    matrix: bool = Field(description="M of this iteration is stored.")


class HeatSummary(Contract):
    """One short run of a candidate on a part of the rows, scored on others, to select the options left to 'auto'."""

    encoding: str
    feature_matrix: str
    exponent: float | None = None
    update: str
    lap: int = Field(
        description="The rung of successive halving, from 1. Only the better third runs the next one, on more rows."
    )
    rows: int
    loss: float | None = Field(None, description="Mean squared error of standardised targets, or the Brier score.")
    iteration: int
    ridge: float | None = None
    seconds: float | None = None
    failed: str | None = Field(None, description="Why it could not run to its end.")


class FoldFigures(Contract):
    """How a cross-validation judges the chosen iteration: each fold on its own rows, with its own ridge."""

    folds: list[dict[str, float]] = Field(description="The validation_ metrics of each fold, in order.")
    mean: dict[str, float] = Field(description="Over the folds.")
    deviation: dict[str, float] = Field(description="Standard deviation over the folds, with their number less one.")


class Model(Contract):
    """A trained model: named, versioned, immutable. Only its description, tags and default version may change."""

    id: str
    name: str
    version: int
    default_version: int | None = Field(
        None, description="Version that the name alone stands for, where one was chosen; else it is the newest."
    )
    description: str = ""
    tags: list[str] = Field(default_factory=list)
    task: Task
    classes: list[Label] | None = None
    features: list[ModelColumn]
    targets: list[ModelColumn]
    encoded_features: int
    spec: dict[str, Any]
    metrics: dict[str, float] = Field(
        description="Of the chosen iteration. brier is the Brier score of the probabilities that are served: of two "
        "classes the mean squared error of the probability of the second one, of more the sum over all classes. Models "
        "that older versions stored have it of raw scores, over all classes also where there are two."
    )
    validation: FoldFigures | None = Field(
        None, description="The figures of each fold. Null without folds, and in models of before."
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
    iteration: int = Field(description="The chosen iteration.")
    chosen_by: ChosenBy | None = Field(
        None,
        description="What selected the iteration: validation rows, folds, or the error of training rows that are left "
        "out of the solve one at a time. last: there was only one, or solver cg had no validation rows. Null in models "
        "of older versions.",
    )
    iterations: int = Field(description="The last iteration that ran.")
    ridge: float
    bandwidth: float | None = None
    precision: str
    solver: str | None = Field(None, description="How the ridge systems were solved, and why so.")
    refitted: bool = Field(False, description="The last solve has the held-out rows too; the metrics are from before.")
    choices: list[HeatSummary] = Field(default_factory=list, description="The short runs that selected 'auto' options.")
    training_rows: int
    weights: str | None = Field(None, description="The column of the dataset that held the weight of each row.")
    class_weight: Literal["balanced"] | dict[str, float] | None = Field(
        None, description="Weights of the classes, as the job said; those of labels that it did not name are 1."
    )
    dropped_rows: int = Field(0, description="Rows of the dataset without a target, which were left out.")
    weightless_rows: int = Field(0, description="Rows of the dataset with the weight 0, which were left out.")
    left_out: list[DroppedColumn] = Field(
        default_factory=list,
        description="Columns of the dataset that name its rows or hold the same in all, and that the model does not "
        "read.",
    )
    dropped_validation_rows: int = Field(0, description="The same of the dataset of the validation rows.")
    versions: dict[str, str] = Field(
        default_factory=dict, description="Versions of the programs that trained it: factrfm, torch, python."
    )
    bytes: int
    sha256: str
    dataset: str
    job: str
    created_at: UtcDatetime
