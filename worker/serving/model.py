"""A model that answers tables: the encoder of its columns and the fitted kernel machine, as one thing to store."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch

from worker.contracts.base import Label, Task
from worker.contracts.errors import ArtifactCorrupt, Conflict, InvalidRequest
from worker.contracts.resources import ModelColumn
from worker.engine.blocks.model import BlocksModel
from worker.engine.errors import EngineError
from worker.engine.model import FittedModel, Model, from_tensors
from worker.store.files.safetensors_io import unpack
from worker.tables.encoding.encoder import Encoder
from worker.tables.rows.matching import WrongRow, match_columns
from worker.tables.rows.plain import Rows


@dataclass(frozen=True)
class Answer:
    """What a model says of n rows.

    ``predictions``: labels (n,) as an object array for classification, float64 (n, c) in original units for
    regression. ``probabilities``: float64 (n, classes), rows sum to 1; None for regression.
    ``unknown_categories``: of each column that has any, which rows (n,) hold a category that no training row had.
    """

    predictions: np.ndarray
    probabilities: np.ndarray | None
    unknown_categories: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def unknown(self) -> dict[str, int]:
        """Return how many rows hold an unknown category, by column."""
        return _counted(self.unknown_categories)

    def part(self, start: int, stop: int) -> "Answer":
        """Return what is said of the rows from ``start`` to ``stop``, not included."""
        rows = slice(start, stop)
        return Answer(
            self.predictions[rows],
            None if self.probabilities is None else self.probabilities[rows],
            {name: found[rows] for name, found in self.unknown_categories.items()},
        )


@dataclass(frozen=True)
class Origin:
    """Which rows the training rows are: ``numbers`` (n,) int64 from 0 in their dataset, in the model's order.

    ``parts``: ids of datasets, each with how many of the rows are its own, one part after another.
    """

    numbers: np.ndarray
    parts: tuple[tuple[str, int], ...]

    def of(self, row: int) -> tuple[str, int]:
        """Return the dataset of a training row, and which of its rows it is."""
        left = row
        for dataset, count in self.parts:
            if left < count:
                return dataset, int(self.numbers[row])
            left -= count
        raise IndexError(f"there is no training row {row}")


@dataclass(frozen=True)
class ServedModel:
    """Everything needed to predict. ``origin`` is None for rows of no dataset, and in files of the first versions."""

    encoder: Encoder
    fitted: Model
    task: Task
    classes: list[Label] | None
    features: list[ModelColumn]
    targets: list[ModelColumn]
    origin: Origin | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that the model holds in memory. Machines that are read when they are asked do not count."""
        return self.fitted.nbytes + self.encoder.nbytes

    @property
    def gains_from_threads(self) -> bool:
        """Whether threads make many rows quicker: the tiles of a tree's machines are too small to be shared."""
        return isinstance(self.fitted, FittedModel)

    def kernel_machine(self, what: str) -> FittedModel:
        """Return the one kernel machine of the model. ``what``: what cannot be had without it.

        Raises:
            InvalidRequest: the model has several.
        """
        if isinstance(self.fitted, FittedModel):
            return self.fitted
        raise InvalidRequest(f"{what} there is only of a model of one kernel machine; this one has several")

    def tree_of_machines(self, what: str) -> BlocksModel:
        """Return the tree of kernel machines that the model is. ``what``: what cannot be had without it.

        Raises:
            Conflict: the model is one kernel machine.
        """
        if isinstance(self.fitted, BlocksModel):
            return self.fitted
        raise Conflict(
            f"{what} there is only of a model that was fitted by blocks (solver 'blocks'); this one is a single kernel "
            "machine"
        )

    def answer(self, table: pa.Table) -> Answer:
        """Answer the rows of any table that has this model's features: its columns are matched by name and typed.

        Raises:
            ColumnMismatch: naming all missing columns.
            InvalidRequest: a cell does not fit its column, or a row holds numbers too large to compute with.
        """
        return self.predict(match_columns(table, self.features))

    def predict(self, rows: Rows) -> Answer:
        """Answer the rows of a table whose columns are this model's features by name, or rows that need no table.

        Raises:
            InvalidRequest: a row holds numbers too large to compute with.
        """
        X = torch.from_numpy(self.encoder.encode(rows))
        unknown_categories = self.encoder.unknown_categories(rows)
        if self.classes is None:
            return Answer(_finite(self.fitted.predict(X).double().cpu().numpy()), None, unknown_categories)
        probabilities = _finite(self.fitted.probabilities(X).double().cpu().numpy())
        labels = np.empty(len(self.classes), dtype=object)
        labels[:] = self.classes
        return Answer(labels[probabilities.argmax(axis=1)], probabilities, unknown_categories)

    def unknown_categories(self, rows: Rows) -> dict[str, int]:
        """Return how many rows hold a category that no training row had, by column; rows as of ``predict``."""
        return _counted(self.encoder.unknown_categories(rows))

    def scores(self, rows: Rows) -> np.ndarray:
        """Return class scores (n, classes) float64, as ``engine.model.Model.scores``, for rows as of ``predict``.

        Raises:
            InvalidRequest: a row holds numbers too large to compute with.
            EngineError: the model is a regression.
        """
        return _finite(self.fitted.scores(torch.from_numpy(self.encoder.encode(rows))).cpu().numpy())

    def to_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return named arrays and JSON-able metadata from which ``from_tensors`` makes the same model."""
        tensors, engine = self.fitted.to_tensors()
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return arrays | self.arrays(), self.metadata(engine)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of a file that are not of the fitted model: which rows trained, and the encoder's."""
        rows = {} if self.origin is None else {"rows": self.origin.numbers.astype(np.int64)}
        return rows | self.encoder.to_arrays()

    def metadata(self, engine: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a file says of the model beside its arrays. ``engine``: what it says of the fitted model."""
        metadata = {
            "engine": engine,
            "encoder": self.encoder.to_json(),
            "task": self.task,
            "classes": self.classes,
            "features": [column.model_dump() for column in self.features],
            "targets": [column.model_dump() for column in self.targets],
        }
        if self.origin is not None:
            metadata["datasets"] = [{"id": dataset, "rows": count} for dataset, count in self.origin.parts]
        return metadata

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Self:
        """Return the model that ``to_tensors`` took apart."""
        named = {name: torch.from_numpy(array) for name, array in tensors.items()}
        return cls.of(from_tensors(named, metadata["engine"]), tensors, metadata)

    @classmethod
    def of(cls, fitted: Model, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Self:
        """Return the model that a file describes; ``fitted`` is made of its tensors already."""
        origin = None
        if "rows" in tensors:
            origin = Origin(tensors["rows"], tuple((part["id"], part["rows"]) for part in metadata["datasets"]))
        return cls(
            encoder=Encoder.from_json(metadata["encoder"], tensors),
            fitted=fitted,
            task=metadata["task"],
            classes=metadata["classes"],
            features=[ModelColumn.model_validate(column) for column in metadata["features"]],
            targets=[ModelColumn.model_validate(column) for column in metadata["targets"]],
            origin=origin,
        )

    def on(self, device: torch.device) -> Self:
        """Return the same model on ``device``."""
        return replace(self, fitted=self.fitted.to(device))


def load(path: str | Path) -> ServedModel:
    """Return the model of a file that the service exported or an estimator saved. It needs no service.

    Raises:
        ArtifactCorrupt: it is no such file, it is cut off, or it is of a newer format.
        OSError: it cannot be opened.
    """
    content = Path(path).read_bytes()
    try:
        return ServedModel.from_tensors(*unpack(content))
    except (ArtifactCorrupt, EngineError) as error:
        raise ArtifactCorrupt(f"{path} holds no model: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(f"{path} holds no model: {error!r} is missing or wrong in it") from error


def _finite(answers: np.ndarray) -> np.ndarray:
    broken = np.flatnonzero(~np.isfinite(answers).all(axis=1))
    if len(broken):
        raise WrongRow(
            int(broken[0]), " holds numbers so far from the training rows that no prediction can be computed"
        )
    return answers


def _counted(unknown_categories: Mapping[str, np.ndarray]) -> dict[str, int]:
    counts = {name: int(rows.sum()) for name, rows in unknown_categories.items()}
    return {name: count for name, count in counts.items() if count}
