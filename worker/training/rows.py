"""Rows as a training takes them: encoded by what was learned of those that train, those that validate beside them."""

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
from worker.tables.encoding.encoder import Encoder, check_finite, check_width


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows X (n, d) float64 and raw targets Y: (n, c) outputs or (n,) class codes; and those to validate on.

    ``numbers``: which rows of their dataset they and those to validate on are, where they come from one.
    """

    X: Tensor
    Y: Tensor
    targets: Targets
    classes: list[Label] | None
    encoder: Encoder
    validation: tuple[Tensor, Tensor] | None
    numbers: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def validating(self) -> int:
        """How many rows validate."""
        return 0 if self.validation is None else len(self.validation[0])

    @property
    def together(self) -> tuple[Tensor, Tensor]:
        """All rows, those to validate on after the others."""
        if self.validation is None:
            return self.X, self.Y
        return torch.cat([self.X, self.validation[0]]), torch.cat([self.Y, self.validation[1]])


def encoded_rows(
    spec: FitSpec | NetworkSpec,
    features: Sequence[ModelColumn],
    classes: list[Label] | None,
    training: tuple[pa.Table, np.ndarray],
    validation: tuple[pa.Table, np.ndarray] | None,
    numbers: tuple[np.ndarray, np.ndarray] | None = None,
) -> TrainingRows:
    """Return the rows of a table and raw targets (n, c) or class codes (n,), encoded as a spec wants them.

    Raises:
        InvalidRequest: no column tells the rows apart, or one holds numbers beyond all measure.
        TooWide: there would be too many encoded columns.
    """
    table, Y = training
    encoder = Encoder.fit(
        table,
        features,
        standardize=spec.standardize,
        normalize_rows=spec.normalize_rows,
        expanded=spec.encoding == "expanded",
    )
    check_width(encoder)
    X = encoder.encode(table)
    check_finite(encoder, X)
    raw = torch.tensor(Y)
    targets: Targets
    if classes is None:
        targets = RegressionTargets.fit(raw)
    else:
        # a network has biases of its own
        centred = isinstance(spec, FitSpec)
        targets = ClassTargets.fit(raw, len(classes)) if centred else ClassTargets(len(classes))
    judging = None
    if validation is not None:
        judging = (torch.from_numpy(encoder.encode(validation[0])), torch.tensor(validation[1]))
    return TrainingRows(torch.from_numpy(X), raw, targets, classes, encoder, judging, numbers)
