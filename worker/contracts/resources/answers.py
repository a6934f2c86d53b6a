"""Rows, predictions and pages of lists."""

from typing import Annotated, Generic, TypeVar

from pydantic import Field

from worker.contracts.base import Contract, Label

RowValue = Annotated[Label | None, Field(description="A cell; null is missing.")]
T = TypeVar("T")


class Predictions(Contract):
    """Predictions in original labels or units; for classification also probabilities in the order of classes."""

    predictions: list[Label | list[float]]
    classes: list[Label] | None = None
    probabilities: list[list[float]] | None = None
    kept: dict[str, list[RowValue]] | None = Field(None, description="Cells of the columns that the request keeps.")


class Page(Contract, Generic[T]):
    """One page of a list, newest first. ``next`` goes into ``?after=``."""

    items: list[T]
    next: str | None = None
