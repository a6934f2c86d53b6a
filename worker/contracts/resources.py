"""What the service answers with: datasets, jobs, batches, models and predictions."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, ValidationError

from worker.contracts.base import ColumnType, Contract, Label, Task, UtcDatetime

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL_STATES: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
JobKind = Literal["fit", "tune", "network", "predict"]

MAX_NAMED_FIELDS = 3
"""Of a fault of the program."""

ChosenBy = Literal["validation", "folds", "leave_one_out", "last"]

T = TypeVar("T")
LONGEST_TOP = 100
CUT_MARK = "…"
"""Frequent texts of a column that are longer are cut, with this at their end."""


class TopValue(Contract):
    """A frequent value of a categorical or boolean column."""

    value: Label
    count: int

    @property
    def cut(self) -> bool:
        """Whether the value is only the beginning of a longer one."""
        return isinstance(self.value, str) and len(self.value) == LONGEST_TOP and self.value.endswith(CUT_MARK)


class Column(Contract):
    """A column of a dataset, with what its values look like."""

    name: str
    type: ColumnType
    index: bool = Field(False, description="It is the index of the data frame that was sent: no feature unless named.")
    missing: int = Field(description="Rows without a value.")
    distinct: int = Field(description="Distinct values, the missing one not counted.")
    min: float | None = Field(None, description="numeric only, over finite values; likewise mean, std, max.")
    mean: float | None = None
    std: float | None = None
    max: float | None = None
    infinite: int = Field(0, description="numeric only: rows with an infinite value.")
    integer: bool = Field(False, description="numeric only: every value is a whole number.")
    top: list[TopValue] | None = Field(None, description="categorical and boolean only: the most frequent values.")
    not_numbers: list[TopValue] | None = Field(
        None,
        description="categorical only, where most values are numbers, or would be without a decimal comma, marks of "
        "thousands or a sign of money: the values that keep the column from being numeric.",
    )


class Dataset(Contract):
    """An immutable table."""

    id: str
    name: str
    sha256: str = Field(description="Of the uploaded bytes, after decompression.")
    bytes: int
    media_type: str
    rows: int
    columns: list[Column]
    created_at: UtcDatetime
    remarks: list[str] | None = Field(
        None,
        description="What should be looked at before a fit, a sentence each: columns that name rows, what they cost, "
        "numbers that were read as texts. Null in lists.",
    )


class Histogram(Contract):
    """How many rows of a numeric column lie between each two ``edges``; of finite values only."""

    column: str
    edges: list[float] = Field(description="One more than counts. The last bin holds its right edge too.")
    counts: list[int]
    missing: int
    infinite: int


class DatasetRows(Contract):
    """The first rows of a dataset."""

    columns: list[str]
    rows: list[list[Label | None]]


class Progress(Contract):
    """How far a job is. ``fraction`` in [0, 1], between two reports of the run by the time that has gone.

    ``eta_seconds``: how long the rest will take, of a queued job without its wait; null after the end. ``trial`` of a
    tune from 1.
    """

    trial: int | None = None
    trials: int | None = None
    iteration: int | None = None
    iterations: int | None = None
    fraction: float = 0.0
    stage: str = "queued"
    eta_seconds: float | None = None


class JobError(Contract):
    """Why a job failed: a stable type and a sentence."""

    type: str = Field(
        description="Stable: the code of an error, or worker_lost, time_limit, numerical_failure, out_of_memory or "
        "internal."
    )
    detail: str

    @classmethod
    def internal(cls, error: Exception) -> "JobError":
        """Return what the owner of a job is told of a fault of this program.

        Texts of other exceptions may hold what is none of the owner's, so only those of contracts are told.
        """
        detail = f"this program made a mistake, {type(error).__name__}"
        if isinstance(error, ValidationError):
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
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
        description="What the rows of validation_ metrics also chose: options, and the iteration. Their figures are a "
        "little too good then. Empty where they chose nothing.",
    )
    left_out_chose: list[str] = Field(
        default_factory=list,
        description="The same of leave_one_out_ metrics: what training rows chose, each left out of the solve in turn.",
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
    rows: int
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


class ModelColumn(Contract):
    """A column that a model reads or answers."""

    name: str
    type: ColumnType


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
    """One short run of a way to fit, on a part of the rows, judged on others: what an 'auto' was decided by."""

    encoding: str
    feature_matrix: str
    exponent: float | None = None
    update: str
    lap: int = Field(description="From 1. Only the better third runs the next lap, on more rows.")
    rows: int
    loss: float | None = Field(None, description="Mean squared error of standardised targets, or the Brier score.")
    iteration: int
    ridge: float | None = None
    seconds: float | None = None
    failed: str | None = Field(None, description="Why it could not run to its end.")


class Model(Contract):
    """A trained model: named, versioned, immutable. Only what is said about it may change."""

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
    validation_chose: list[str] = Field(
        default_factory=list,
        description="What the rows of validation_ metrics also chose: options, and the iteration. Their figures are a "
        "little too good then. Empty where they chose nothing.",
    )
    left_out_chose: list[str] = Field(
        default_factory=list,
        description="The same of leave_one_out_ metrics: what training rows chose, each left out of the solve in turn.",
    )
    iteration: int = Field(description="The chosen iteration.")
    chosen_by: ChosenBy | None = Field(
        None,
        description="What chose the iteration: rows to validate on, folds, or the error of training rows that are left "
        "out of the solve one at a time. last: there was one, or solver cg had no rows to choose by. Null in models of "
        "older versions.",
    )
    iterations: int = Field(description="The last iteration that ran.")
    ridge: float
    bandwidth: float | None = None
    precision: str
    solver: str | None = Field(None, description="How the ridge systems were solved, and why so.")
    refitted: bool = Field(False, description="The last solve has the held-out rows too; the metrics are from before.")
    choices: list[HeatSummary] = Field(default_factory=list, description="What the options left to 'auto' came of.")
    training_rows: int
    versions: dict[str, str] = Field(
        default_factory=dict, description="Of the programs that trained it: factrfm, torch, python."
    )
    bytes: int
    sha256: str
    dataset: str
    job: str
    created_at: UtcDatetime


class FeatureShare(Contract):
    """What one column adds to the distance that M makes between two training rows."""

    feature: str
    share: float | None = Field(
        description="Sum of M[j][j] · Var(x[j]) over its encoded columns j, of all columns' sum; Var over the encoded "
        "training rows. Null for a job of an older version that did not end, which kept no variances."
    )
    trace_share: float = Field(description="Of the trace of M. It grows with the number of categories.")


class Loading(Contract):
    feature: str
    weight: float


class Direction(Contract):
    """An eigenvector of M: the features it weighs most."""

    eigenvalue: float
    loadings: list[Loading]


class LearnedFeatures(Contract):
    """What is looked at. Shares are of the mean squared distance between two training rows, and sum to 1."""

    iteration: int
    features_learned: bool = Field(
        description="False where M is the identity, with which every fit begins: nothing was learned of the columns, "
        "and shares only tell how much each of them varies."
    )
    importance: list[FeatureShare] = Field(description="By original column, largest first.")
    encoded_importance: list[FeatureShare] = Field(description="By encoded column, largest first.")
    eigenvalues: list[float]
    effective_rank: float = Field(description="exp of the entropy of the normalised eigenvalues.")
    directions: list[Direction]


class Features(LearnedFeatures):
    """What a model looks at. Shares are of the mean squared distance between two training rows, and sum to 1."""

    model: str


class JobFeatures(LearnedFeatures):
    """What a fit under way looks at. Shares are of the mean squared distance between two training rows."""

    job: str


class NamedMatrix(Contract):
    """A feature matrix M, row by row, in the order of names."""

    iteration: int
    names: list[str]
    matrix: list[list[float]]


class FeatureMatrix(NamedMatrix):
    """The learned feature matrix M, row by row, in the order of names."""

    model: str


class JobFeatureMatrix(NamedMatrix):
    """The feature matrix M of a fit under way, row by row, in the order of names."""

    job: str


class FeatureHistory(Contract):
    """Every iteration of a fit, with its metrics."""

    model: str
    chosen: int
    validation_chose: list[str] = Field(
        default_factory=list,
        description="What the rows of validation_ metrics also chose: options, and the iteration. Their figures are a "
        "little too good then. Empty where they chose nothing.",
    )
    left_out_chose: list[str] = Field(
        default_factory=list,
        description="The same of leave_one_out_ metrics: what training rows chose, each left out of the solve in turn.",
    )
    items: list[IterationSummary]


class Predictions(Contract):
    """Answers in original labels or units; for classification also probabilities in the order of classes."""

    predictions: list[Label | list[float]]
    classes: list[Label] | None = None
    probabilities: list[list[float]] | None = None


class Page(Contract, Generic[T]):
    """One page of a list, newest first. ``next`` goes into ``?after=``."""

    items: list[T]
    next: str | None = None


RowValue = Annotated[Label | None, Field(description="A cell; null is missing.")]
