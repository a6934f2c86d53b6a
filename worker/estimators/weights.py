"""Rows that train or validate, with their weights: those that are given, times those of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import torch
from sklearn.utils.validation import _check_sample_weight

from worker.engine.weights import RowWeights

ClassWeight = Literal["balanced"] | Mapping[Any, float]


@dataclass(frozen=True)
class CodedRows:
    """Columns of n rows, their targets, (n, c) outputs or (n,) class codes, and weights (n,), None where all are 1."""

    table: pa.Table
    Y: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.Y)

    def take(self, rows: np.ndarray) -> Self:
        """Return some of the rows, given by their places."""
        weights = None if self.weights is None else self.weights[rows]
        return type(self)(self.table.take(rows), self.Y[rows], weights)

    def times(self, class_weights: np.ndarray) -> Self:
        """Return rows with class codes, each weight times that of its class (classes,)."""
        own = class_weights[self.Y]
        return type(self)(self.table, self.Y, own if self.weights is None else self.weights * own)

    @property
    def weighing(self) -> Self:
        """The rows with a weight above 0."""
        if self.weights is None or (self.weights > 0).all():
            return self
        return self.take(np.flatnonzero(self.weights > 0))


def engine_weights(training: CodedRows, held_out: CodedRows | None) -> RowWeights | None:
    """Return the weights of rows that train and rows that validate, None where all are 1."""
    if training.weights is None and (held_out is None or held_out.weights is None):
        return None
    weights = np.ones(len(training)) if training.weights is None else training.weights
    held = None if held_out is None or held_out.weights is None else torch.from_numpy(held_out.weights)
    return RowWeights(torch.from_numpy(weights), held)


def sample_weights(sample_weight: Any, Y: np.ndarray) -> np.ndarray | None:
    """Return weights (n,) float64 of rows with targets Y, None for None.

    Raises:
        ValueError: they are not one number of at least 0 for each row, or all are 0.
    """
    if sample_weight is None:
        return None
    weights: np.ndarray = _check_sample_weight(sample_weight, Y, dtype=np.float64, ensure_non_negative=True, copy=True)
    return weights


def class_weights(class_weight: ClassWeight, classes: Sequence[Any], rows: CodedRows) -> np.ndarray:
    """Return the weight of every class (classes,).

    "balanced" gives every class the same weight altogether, and all rows the weight that they had; classes that a
    mapping does not name have weight 1.

    Raises:
        ValueError: it is neither, or names a label that is no class or a weight that is none.
    """
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(rows.Y, rows.weights, minlength=len(classes))
        share = totals.sum() / (totals > 0).sum()
        balanced: np.ndarray = np.divide(share, totals, out=np.zeros(len(classes)), where=totals > 0)
        return balanced
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be None, 'balanced' or a weight for each label, not {class_weight!r}")
    places = {label: place for place, label in enumerate(classes)}
    weights = np.ones(len(classes))
    for label, weight in class_weight.items():
        plain = label.item() if isinstance(label, np.generic) else label
        if plain not in places:
            known = ", ".join(map(repr, classes[:10]))
            raise ValueError(f"class_weight names the label {plain!r}, which y does not hold; its classes are {known}")
        if isinstance(weight, bool | str) or not 0 <= weight < np.inf:
            raise ValueError(f"class_weight of the label {plain!r} must be finite and at least 0, not {weight!r}")
        weights[places[plain]] = weight
    if not weights.any():
        raise ValueError("class_weight is 0 for every class")
    return weights
