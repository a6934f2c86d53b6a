"""What a model or a running fit has learned of its features."""

from pydantic import Field

from worker.contracts.base import Contract
from worker.contracts.resources.models import IterationSummary


class FeatureShare(Contract):
    """Contribution of one column to the distance under M between two training rows."""

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
    """Learned importances. Shares are of the mean squared distance between two training rows, and sum to 1."""

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
    """Importances of a model. Shares are of the mean squared distance between two training rows, and sum to 1."""

    model: str


class JobFeatures(LearnedFeatures):
    """Importances of a running fit. Shares are of the mean squared distance between two training rows."""

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
    """The feature matrix M of a running fit, row by row, in the order of names."""

    job: str


class FeatureHistory(Contract):
    """Every iteration of a fit, with its metrics."""

    model: str
    chosen: int
    validation_chose: list[str] = Field(
        default_factory=list,
        description="Options, and the iteration, that the validation rows also selected: validation_ metrics are then "
        "slightly optimistic. Empty if they selected nothing.",
    )
    left_out_chose: list[str] = Field(
        default_factory=list,
        description="The same for leave_one_out_ metrics: what training rows selected, each left out in turn.",
    )
    items: list[IterationSummary]
