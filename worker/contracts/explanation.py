"""Explanations of predictions."""

from pydantic import Field

from worker.contracts.base import ColumnType, Contract, Label


class Neighbour(Contract):
    """A training row near the explained row. Its number and values are given while its dataset exists.

    In a model of solver 'blocks' it is a row of the leaves and blocks that answer the explained row.
    """

    row: int | None = Field(
        None, description="Row number in the dataset, from 0; null if unknown, as in a model of solver 'blocks'."
    )
    dataset: str | None = None
    distance: float = Field(description="By the learned metric: the root of (x − z)ᵀM(x − z) of encoded rows.")
    weight: float = Field(
        description="Value of the kernel between the two rows. In a model of solver 'blocks', by the machine with the "
        "largest part in the answer of those that hold the row."
    )
    values: dict[str, Label | None] | None = Field(
        None, description="Its features; null if the dataset is deleted, or the row unknown."
    )
    targets: list[Label] | None = Field(None, description="Its targets, in the order of the model's.")


class Sensitivity(Contract):
    """How much the prediction changes with one column while the others stay fixed.

    numeric and datetime: the slope of the prediction at the row times ``step``; the slope of the encoding is its mean
    over one ``step`` around the value. categorical and boolean: the largest change by another value, ``to``. text: the
    change if the cell were empty.
    """

    feature: str
    type: ColumnType
    change: list[float] | None = Field(
        description="By output: a target in its unit; in a classification the score of the predicted class. Null if "
        "the row has no number there."
    )
    step: float | None = Field(
        None, description="numeric and datetime: one standard deviation of the training rows; of dates in seconds."
    )
    to: Label | None = Field(None, description="categorical and boolean: the other value.")
    known: bool = Field(
        True, description="categorical: false for a value that was rare or absent in training; all such count alike."
    )


class Explanation(Contract):
    """The explanation of one row."""

    prediction: Label | list[float] = Field(description="As in a prediction.")
    probabilities: list[float] | None = None
    neighbours: list[Neighbour] = Field(description="Nearest first.")
    sensitivity: list[Sensitivity] = Field(description="By column of the model, largest change first.")


class Explanations(Contract):
    """Explanations of predictions, in the order of the rows sent."""

    model: str
    classes: list[Label] | None = None
    targets: list[str] = Field(description="Names of the targets.")
    unknown_categories: dict[str, int] = Field(
        default_factory=dict,
        description="By column, the number of rows with a category that no training row had.",
    )
    items: list[Explanation]
