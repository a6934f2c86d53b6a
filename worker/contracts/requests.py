"""The bodies of jobs and batches."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from worker.contracts.base import MAX_COLUMNS, ColumnType, Contract
from worker.contracts.search import MAX_OPTIONS, Search
from worker.contracts.specs import FitSpec, NetworkSpec

DATASET_ID = r"^ds_[0-9a-z]{20,40}$"
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
TAG = r"^[A-Za-z0-9][A-Za-z0-9._:/=-]{0,63}$"
MODEL_REF = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(@[1-9][0-9]{0,8})?$"
MODEL_VERSION = r"^(mdl_[0-9a-z]{20,40}|[A-Za-z0-9][A-Za-z0-9._-]{0,99}@[1-9][0-9]{0,8})$"

MAX_PATH_STEPS = 10
MAX_GRID_PATH_LENGTH = 200
GRID_PATH = rf"^[^.]+(\.[^.]+){{0,{MAX_PATH_STEPS - 1}}}$"
MAX_KEPT = 100
"""Columns of rows that are repeated beside their predictions."""
MAX_VERSION = 2**31 - 1
MAX_CLASS_WEIGHT = 1e9


def _not_an_id(name: str) -> str:
    if name.startswith("mdl_"):
        raise ValueError("a name that begins with mdl_ would look like a model's id")
    return name


DatasetId = Annotated[
    str, Field(pattern=DATASET_ID, examples=["ds_01jd0000000000000000000000"], description="Id of an uploaded table.")
]
ColumnName = Annotated[str, Field(min_length=1, max_length=1000)]


MissingTarget = Literal["drop", "error"]
Tag = Annotated[str, Field(pattern=TAG, examples=["production", "team=risk"])]


TypeOfColumn = ColumnType | Literal["ignore"]
"""What a request says of a column."""
ClassWeight = (
    Literal["balanced"]
    | Annotated[
        dict[Annotated[str, Field(max_length=1000)], Annotated[float, Field(ge=0, le=MAX_CLASS_WEIGHT)]],
        Field(min_length=1, max_length=1000),
    ]
)
"""Weights of classes: balanced, or label → weight, each label as its text."""


class Validation(Contract):
    """Which rows select the iteration (and the ridge).

    Exactly one of fraction, dataset, folds and column is given; with group also a fraction or folds, with time also a
    fraction.
    """

    fraction: float | None = Field(None, gt=0, lt=1, description="Share of the rows held out, by the spec's seed.")
    dataset: DatasetId | None = Field(None, description="Another dataset with the same columns.")
    folds: int | None = Field(
        None,
        ge=2,
        le=20,
        description="Cross-validation chooses; the model is then fitted on all rows. Of a classification each fold has "
        "about the same share of every class.",
    )
    group: ColumnName | None = Field(
        None,
        # programs of before do not know it, nor the next two, and read what is stored
        exclude_if=lambda name: name is None,
        description="A column whose values are groups: rows of one group are never both in training and in validation, "
        "and those without a value are one group. It is no feature. The fraction is that of the rows, as near as whole "
        "groups come.",
    )
    time: ColumnName | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description="A column of numbers, or of dates such as 2026-01-31: the latest rows validate, and every training "
        "row is earlier than all of them. It is a feature too, unless it is excluded.",
    )
    column: ColumnName | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description="A column of truth values: rows marked true validate and never train. It is no feature.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.group is not None and self.fraction is None and self.folds is None:
            raise ValueError("give a fraction or folds with group")
        if self.time is not None and (self.fraction is None or self.group is not None):
            raise ValueError("give a fraction with time, and neither folds nor group: only the latest rows judge")
        if sum(value is not None for value in (self.fraction, self.dataset, self.folds, self.column)) != 1:
            raise ValueError("give exactly one of fraction, dataset, folds and column")
        return self

    @property
    def by(self) -> tuple[Literal["group", "time", "column"], str] | None:
        """The field that names a column by which rows are split, and that column. None: no column splits them."""
        if self.group is not None:
            return "group", self.group
        if self.time is not None:
            return "time", self.time
        return None if self.column is None else ("column", self.column)


class TableRequest(Contract):
    """A table and what to learn from it: the fields of all kinds of training."""

    kind: str = Field(description="What to do.")
    dataset: DatasetId
    target: ColumnName | Annotated[list[ColumnName], Field(min_length=1, max_length=1000)] = Field(
        description="The column to learn, or several for a regression with several outputs."
    )
    features: Annotated[list[ColumnName], Field(min_length=1, max_length=MAX_COLUMNS)] | None = Field(
        None, description="Columns to learn from. Null: all but the target."
    )
    exclude: Annotated[list[ColumnName], Field(max_length=MAX_COLUMNS)] = Field(
        default_factory=list, description="Columns to leave out."
    )
    columns: Annotated[dict[ColumnName, TypeOfColumn], Field(max_length=MAX_COLUMNS)] = Field(
        default_factory=dict,
        description="Column → its type, where the caller knows better than its cells tell, or 'ignore', which leaves "
        "it out. Predictions are read by that type too. A cell that does not fit is refused. 'text' learns from "
        "the words of its cells.",
        examples=[{"zip": "categorical", "note": "text"}],
    )
    task: Literal["auto", "regression", "classification"] = Field(
        "auto",
        description="auto: classification for a categorical or boolean target and for whole numbers "
        "with at most 20 distinct values, else regression.",
    )
    validation: Validation | None = Field(
        default_factory=lambda: Validation(fraction=0.2),
        description="Which rows choose the iteration, the ridge and what the spec leaves to 'auto'. Of a network they "
        "choose nothing. Not given: a fraction of 0.2. Null: all rows train, and those of a fit choose, each left out "
        "of the solve in turn; with solver cg the last iteration is kept.",
    )
    missing_target: MissingTarget = Field(
        "drop",
        description="Rows without a value of the target, or of one of several: drop leaves them out, those of a "
        "validation dataset too, and the result says how many; error refuses the table.",
    )

    weights: ColumnName | None = Field(
        None,
        # programs of before know neither of these two, and read what is stored
        exclude_if=lambda name: name is None,
        description="A column of numbers of at least 0: the weight of each row, of rows to validate on too. A whole "
        "number counts as so many copies of the row, 0 as none. It is no feature, and predictions do not read it. "
        "Where a validation dataset has no such column, each of its rows counts once. Not for kind network.",
    )
    class_weight: ClassWeight | None = Field(
        None,
        exclude_if=lambda weight: weight is None,
        description="Classification: 'balanced' gives all classes the same weight altogether; or label → weight, at "
        "least 0, 1 for those not named. It multiplies the weights of rows, of rows to validate on too. Not for kind "
        "network.",
        examples=["balanced", {"fraud": 20, "ok": 1}],
    )

    @property
    def weighs(self) -> bool:
        """Whether some rows may count more than others."""
        return self.weights is not None or self.class_weight is not None

    @property
    def split_only(self) -> str | None:
        """The column that splits the rows and is no feature, None without."""
        return None if self.validation is None else self.validation.group or self.validation.column

    @property
    def targets(self) -> list[str]:
        """The target columns as a list."""
        return [self.target] if isinstance(self.target, str) else list(self.target)


class TrainRequest(TableRequest):
    """The fields of all jobs that make a model."""

    model: Annotated[str, Field(pattern=MODEL_NAME), AfterValidator(_not_an_id)] | None = Field(
        None, description="The model's name; a further fit under it makes the next version. Null: the job's id."
    )
    spec: FitSpec = Field(default_factory=FitSpec, description="How to train.")


class FitRequest(TrainRequest):
    """Train a model on a dataset."""

    kind: Literal["fit"] = Field("fit", description="Make a model.")

    @model_validator(mode="after")
    def _blocks_have_no_folds(self) -> Self:
        if self.spec.solver == "blocks" and self.validation is not None and self.validation.folds is not None:
            raise ValueError("solver 'blocks' validates on a fraction, a dataset or rows left out, not on folds")
        return self


class TuneRequest(TrainRequest):
    """Train many models on a dataset, each with another spec, and keep the best on the validation rows."""

    kind: Literal["tune"] = Field("tune", description="Make the best of many models.")
    search: Search = Field(default_factory=Search, description="How to search.")

    @field_validator("spec")
    @classmethod
    def _one_machine(cls, value: FitSpec) -> FitSpec:
        if value.solver == "blocks":
            raise ValueError("a search tries specs on one machine: solver 'blocks' is for jobs of kind fit")
        return value

    @field_validator("validation")
    @classmethod
    def _something_to_compare_by(cls, value: Validation | None) -> Validation | None:
        if value is None:
            raise ValueError("a search compares trials on validation rows: give a fraction, a dataset or folds")
        return value


class NetworkRequest(TableRequest):
    """Train a multilayer perceptron and report how well the theorem holds for each of its layers."""

    kind: Literal["network"] = Field("network", description="Make a report.")
    spec: NetworkSpec = Field(default_factory=NetworkSpec, description="The network and how to train it.")

    @field_validator("validation")
    @classmethod
    def _one_network(cls, value: Validation | None) -> Validation | None:
        if value is not None and value.folds is not None:
            raise ValueError("a report is of one network: give a fraction, a dataset or null, not folds")
        return value

    @field_validator("weights", "class_weight")
    @classmethod
    def _rows_count_once(cls, value: str | ClassWeight | None) -> str | ClassWeight | None:
        if value is not None:
            raise ValueError("every row of a network counts once: weights are for jobs of kind fit and tune")
        return value


class PredictRequest(Contract):
    """Predict every row of a stored dataset into a file to download."""

    kind: Literal["predict"] = Field("predict", description="Make a file of predictions.")
    model: Annotated[str, Field(pattern=MODEL_REF)] = Field(description="mdl_…, name or name@version.")
    dataset: DatasetId
    format: Literal["parquet", "csv", "arrow"] = Field("parquet", description="Of the file.")
    spreadsheet: bool = Field(
        False, description="Of csv: an apostrophe before texts that a spreadsheet would take for formulas."
    )
    keep: Annotated[list[ColumnName], Field(max_length=MAX_KEPT)] = Field(
        default_factory=list,
        description="Columns of the dataset to repeat in front of the predictions. One that is called as a column of "
        "the predictions is called kept:<name>.",
    )


AnyRequest = FitRequest | TuneRequest | NetworkRequest | PredictRequest
JobRequest = Annotated[AnyRequest, Field(discriminator="kind")]


GridPath = Annotated[str, Field(pattern=GRID_PATH, max_length=MAX_GRID_PATH_LENGTH)]


class BatchGrid(Contract):
    """One base body and the values that vary: every combination is a job."""

    base: dict[str, Any] = Field(description="The body of a job.")
    grid: dict[GridPath, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1,
        max_length=MAX_OPTIONS,
        description="Dotted path into the body → values, e.g. {'spec.ridge': [0.1, 1]}.",
    )


class ModelChange(Contract):
    """Changes of a model: its description, its tags, and the version that its name means. Omitted fields stay."""

    description: str | None = Field(None, max_length=2000, description="In words. Null: none.")
    tags: list[Tag] | None = Field(None, max_length=20, description="In place of those that it has. Null: none.")
    default_version: int | None = Field(
        None, ge=1, le=MAX_VERSION, description="Version that the name alone stands for. Null: always the newest."
    )
