"""Why a model answers a row as it does."""

from pydantic import Field

from worker.contracts.base import ColumnType, Contract, Label


class Neighbour(Contract):
    """A training row near to the row that is explained. It is named, and shown, while its dataset is there."""

    row: int | None = Field(None, description="Which row of the dataset it is, from 0; null where no file tells.")
    dataset: str | None = None
    distance: float = Field(description="Under the learned metric: the root of (x − z)ᵀM(x − z) of encoded rows.")
    weight: float = Field(description="Value of the kernel between the two rows.")
    values: dict[str, Label | None] | None = Field(None, description="Its features; null where the dataset is gone.")
    targets: list[Label] | None = Field(None, description="Its targets, in the order of the model's.")


class Sensitivity(Contract):
    """How much the answer changes with one column, the others as they are.

    numeric: the slope of the answer at the row times ``step``; the slope of the encoding is its mean over one ``step``
    around the value. categorical and boolean: the largest change that another value makes, ``to``.
    """

    feature: str
    type: ColumnType
    change: list[float] | None = Field(
        description="By output: a target's in its unit; of a classification the score of the predicted class. null: "
        "the row has no number there."
    )
    step: float | None = Field(None, description="numeric: one standard deviation of the training rows.")
    to: Label | None = Field(None, description="categorical and boolean: the value that was put in its place.")
    known: bool = Field(
        True, description="categorical: false of a value that was rare or absent in training; all such count alike."
    )


class Explanation(Contract):
    """One row: what is answered, and why."""

    prediction: Label | list[float] = Field(description="As of a prediction.")
    probabilities: list[float] | None = None
    neighbours: list[Neighbour] = Field(description="Nearest first.")
    sensitivity: list[Sensitivity] = Field(description="By column of the model, largest change first.")


class Explanations(Contract):
    """Answers with their reasons, a row each, in the order of the rows sent."""

    model: str
    classes: list[Label] | None = None
    targets: list[str] = Field(description="Names of the targets.")
    unknown_categories: dict[str, int] = Field(
        default_factory=dict,
        description="By column, in how many rows it holds a category that no training row had.",
    )
    items: list[Explanation]
