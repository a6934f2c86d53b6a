"""A model that answers tables: the encoder of its columns and the fitted kernel machine, as one thing to store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch

from worker.contracts.base import Label, Task
from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import ModelColumn
from worker.engine.model import FittedModel
from worker.tables.encoder import Encoder


@dataclass(frozen=True)
class Answer:
    """What a model says of n rows.

    ``predictions``: labels (n,) as an object array for classification, float64 (n, c) in original units for
    regression. ``probabilities``: float64 (n, classes), rows sum to 1; None for regression.
    """

    predictions: np.ndarray
    probabilities: np.ndarray | None

    def part(self, start: int, stop: int) -> "Answer":
        """Return what is said of the rows from ``start`` to ``stop``, not included."""
        rows = slice(start, stop)
        return Answer(self.predictions[rows], None if self.probabilities is None else self.probabilities[rows])


@dataclass(frozen=True)
class ServedModel:
    """Everything needed to predict."""

    encoder: Encoder
    fitted: FittedModel
    task: Task
    classes: list[Label] | None
    features: list[ModelColumn]
    targets: list[ModelColumn]

    @property
    def nbytes(self) -> int:
        """Bytes that the model holds in memory."""
        tensors, _ = self.fitted.to_tensors()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    def predict(self, table: pa.Table) -> Answer:
        """Answer the rows of ``table``, whose columns are this model's features by name.

        Raises:
            InvalidRequest: a row holds numbers too large to compute with.
        """
        X = torch.from_numpy(self.encoder.encode(table))
        if self.classes is None:
            return Answer(_finite(self.fitted.predict(X).double().cpu().numpy()), None)
        probabilities = _finite(self.fitted.probabilities(X).double().cpu().numpy())
        labels = np.empty(len(self.classes), dtype=object)
        labels[:] = self.classes
        return Answer(labels[probabilities.argmax(axis=1)], probabilities)

    def to_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return named arrays and JSON-able metadata from which ``from_tensors`` makes the same model."""
        tensors, metadata = self.fitted.to_tensors()
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}, {
            "engine": metadata,
            "encoder": self.encoder.to_json(),
            "task": self.task,
            "classes": self.classes,
            "features": [column.model_dump() for column in self.features],
            "targets": [column.model_dump() for column in self.targets],
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Self:
        """Return the model that ``to_tensors`` took apart."""
        named = {name: torch.from_numpy(array) for name, array in tensors.items()}
        return cls(
            encoder=Encoder.from_json(metadata["encoder"]),
            fitted=FittedModel.from_tensors(named, metadata["engine"]),
            task=metadata["task"],
            classes=metadata["classes"],
            features=[ModelColumn.model_validate(column) for column in metadata["features"]],
            targets=[ModelColumn.model_validate(column) for column in metadata["targets"]],
        )

    def on(self, device: torch.device) -> Self:
        """Return the same model on ``device``."""
        return type(self)(self.encoder, self.fitted.to(device), self.task, self.classes, self.features, self.targets)


def _finite(answers: np.ndarray) -> np.ndarray:
    broken = np.flatnonzero(~np.isfinite(answers).all(axis=1))
    if len(broken):
        raise InvalidRequest(
            f"row {broken[0] + 1} holds numbers so far from the training rows that no prediction can be computed"
        )
    return answers
