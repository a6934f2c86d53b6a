"""The leaves of a model that was fitted by blocks, and the rule of each."""

from typing import Literal

from pydantic import Field

from worker.contracts.base import Contract
from worker.contracts.resources.features import Loading

CutSide = Literal["below", "above"]


class CutColumn(Contract):
    """A column of the table that a cut depends on."""

    feature: str
    share: float = Field(
        description="Of the cut's spread: weight² · Var(x[j]) summed over its encoded columns j, of all columns' sum; "
        "Var over the encoded training rows. Correlations between columns are not in it."
    )
    weights: list[Loading] = Field(
        description="Of its encoded columns, those with the largest shares: 3 at most. Weights are for encoded values."
    )


class LeafCut(Contract):
    """A cut on the way to a leaf, and the side of the leaf.

    With x an encoded row and w the weights of the cut, a row is below where x · w ≤ threshold, and above elsewhere.
    """

    cut: int = Field(description="Number of the cut in the tree, from 0. Leaves on both sides share it.")
    side: CutSide
    summary: str = Field(
        description="The side in words, as 'low age, high income': that of each named column, as its weight has it. A "
        "row needs not all of it, for its columns are added up."
    )
    threshold: float
    share: float = Field(description="Of the cut's spread, what the named columns hold together.")
    columns: list[CutColumn] = Field(
        description="Largest share first, until they hold 90 % of the spread: 4 at most, of all columns that there are."
    )


class Leaf(Contract):
    """A leaf of the tree of a model that was fitted by blocks: a kernel machine that answers the rows of one region."""

    leaf: int = Field(description="Its number, from 0; the part of the job that fitted it has the same.")
    rows: int = Field(description="Training rows of its machine. A row near a cut trains the leaves of both sides.")
    rule: list[LeafCut] = Field(description="From the first cut of the tree down. Empty where the tree has no cut.")
    ridge: float
    metrics: dict[str, float] = Field(
        description="Of its training rows, each left out of its machine in turn. leave_one_out_loss, by which its "
        "ridge was chosen, is the mean squared error of standardised outputs or of class scores; of a classification "
        "with one block the Brier score. leave_one_out_rmse is its root in the unit of the target, for one numeric "
        "target. Where the blocks answer half or more of each row, their answers to rows that they had not seen are in "
        "it. Held-out rows that joined the leaf in the end are not."
    )


def leaf_error(leaf: Leaf) -> float:
    """Return the error of a leaf to show: in the unit of the target where there is one, else its loss."""
    return leaf.metrics.get("leave_one_out_rmse", leaf.metrics["leave_one_out_loss"])
