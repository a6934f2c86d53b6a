"""Rows that train or validate, with their weights: those that are given, times those of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import _check_sample_weight

from worker.tables.encoding.weights import balanced

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
        return balanced(rows.Y, rows.weights, len(classes))
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
