"""Encoded rows of a training: the encoder is fitted on the training rows, and also encodes the validation rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from worker.contracts.base import Label
from worker.contracts.resources import ModelColumn
from worker.contracts.specs import FitSpec, NetworkSpec
from worker.engine.targets import ClassTargets, RegressionTargets, Targets
from worker.engine.weights import RowWeights
from worker.tables.encoding.encoder import Encoder, check_finite, check_width
from worker.tables.encoding.statistics import TrainingTargets


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows X (n, d) float64 and raw targets Y, (n, c) outputs or (n,) class codes; and ``validation`` rows.

    ``numbers``: row numbers of the training and of the validation rows in their dataset, if they come from one.
    ``weights``: above 0, of the training and of the validation rows, if they have any.
    ``dropped``: how many rows of the training and of the validation dataset have no target.
    ``weightless``: how many rows of the training dataset have a target and the weight 0.
    """

    X: Tensor
    Y: Tensor
    targets: Targets
    classes: list[Label] | None
    encoder: Encoder
    validation: tuple[Tensor, Tensor] | None
    numbers: tuple[np.ndarray, np.ndarray] | None = None
    weights: RowWeights | None = None
    dropped: tuple[int, int] = (0, 0)
    weightless: int = 0

    @property
    def validating(self) -> int:
        """Number of validation rows."""
        return 0 if self.validation is None else len(self.validation[0])

    @property
    def together(self) -> tuple[Tensor, Tensor]:
        """All rows, validation rows last."""
        if self.validation is None:
            return self.X, self.Y
        return torch.cat([self.X, self.validation[0]]), torch.cat([self.Y, self.validation[1]])

    @property
    def weights_together(self) -> RowWeights | None:
        """Weights of all rows, in the order of ``together``."""
        if self.weights is None or self.validation is None:
            return self.weights
        held_out = self.weights.validation
        more = self.weights.training.new_ones(self.validating) if held_out is None else held_out
        return RowWeights(torch.cat([self.weights.training, more]))


def row_weights(training: np.ndarray | None, validation: np.ndarray | None, n: int) -> RowWeights | None:
    """Return the weights of n rows that train and of rows that validate, None where all are 1."""
    if training is None and validation is None:
        return None
    held_out = None if validation is None else torch.from_numpy(validation)
    return RowWeights(torch.from_numpy(np.ones(n) if training is None else training), held_out)


def encoded_rows(
    spec: FitSpec | NetworkSpec,
    features: Sequence[ModelColumn],
    classes: list[Label] | None,
    training: tuple[pa.Table, np.ndarray],
    validation: tuple[pa.Table, np.ndarray] | None,
    numbers: tuple[np.ndarray, np.ndarray] | None = None,
    weights: RowWeights | None = None,
) -> TrainingRows:
    """Encode the rows of a table for a spec, with raw targets (n, c) or class codes (n,), and weights above 0.

    Raises:
        InvalidRequest: every column is constant, or a column holds numbers that are too large.
        TooWide: there would be too many encoded columns.
    """
    table, Y = training
    counts = None if weights is None else weights.training.numpy()
    means = TrainingTargets.of(Y, classes, spec.seed, counts) if spec.encoding == "statistics" else None
    encoder = Encoder.fit(
        table,
        features,
        standardize=spec.standardize,
        normalize_rows=spec.normalize_rows,
        expanded=spec.encoding != "plain",
        weights=counts,
        targets=means,
    )
    check_width(encoder)
    X = encoder.encode(table) if means is None else encoder.encode_training(table, means)
    check_finite(encoder, X)
    raw = torch.tensor(Y)
    # a network has biases instead
    own = None if weights is None else weights.training
    targets = fitted_targets(raw, classes, centred=isinstance(spec, FitSpec), weights=own)
    held_out = None
    if validation is not None:
        held_out = (torch.from_numpy(encoder.encode(validation[0])), torch.tensor(validation[1]))
    return TrainingRows(torch.from_numpy(X), raw, targets, classes, encoder, held_out, numbers, weights)


def fitted_targets(
    raw: Tensor, classes: list[Label] | None, *, centred: bool, weights: Tensor | None = None
) -> Targets:
    """Return the coding of raw targets, (n, c) outputs or (n,) class codes. ``centred``: less the classes' shares."""
    if classes is None:
        return RegressionTargets.fit(raw, weights)
    return ClassTargets.fit(raw, len(classes), weights) if centred else ClassTargets(len(classes))
