"""A fitted kernel machine: what it takes to answer rows, and nothing of how it was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from worker.engine import files, summary
from worker.engine.config import FitConfig
from worker.engine.errors import DamagedFile, EngineError
from worker.engine.kernels import KERNELS, Kernel, KernelPoints, kernel_of
from worker.engine.kernels.points import predict_rows
from worker.engine.problem import Iterate
from worker.engine.targets import (
    ClassTargets,
    RegressionTargets,
    Targets,
    targets_from_tensors,
    targets_to_tensors,
)

KERNEL_MACHINE = "kernel_machine"
"""The format of models whose metadata name none."""
FORMAT_VERSION = 1
CENTRED_FORMAT = 2
"""Of classifications whose targets were centred by ``class_frequencies``; a program that does not know it would answer
without them, so it must not read them."""


class Model(Protocol):
    """What answers encoded rows and shows one feature matrix M: one kernel machine, or several with the same M.

    ``from_tensors`` knows the class of each format, which the metadata name.
    """

    M: Tensor
    """(d, d) or (d,) float64."""
    targets: Targets

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors in memory."""

    def raw(self, X: Tensor) -> Tensor:
        """Return standardised outputs, or class scores less the classes' frequencies, (m, c)."""

    def predict(self, X: Tensor) -> Tensor:
        """Return outputs in original units (m, c) float64, or class codes (m,) int64."""
        return self.targets.decode(self.raw(X))

    def probabilities(self, X: Tensor) -> Tensor:
        """Return class probabilities (m, c) float64; rows sum to 1.

        Raises:
            EngineError: the model is a regression.
        """
        if not isinstance(self.targets, ClassTargets):
            raise EngineError("a regression has no probabilities")
        return self.targets.probabilities(self.raw(X))

    def scores(self, X: Tensor) -> Tensor:
        """Return class scores (m, c) float64, whose nearest point of the simplex the probabilities are.

        Raises:
            EngineError: the model is a regression.
        """
        if not isinstance(self.targets, ClassTargets):
            raise EngineError("a regression has no class scores")
        return self.targets.scores(self.raw(X))

    def importance(self) -> Tensor:
        """Return each column's share of the mean squared distance between training rows, (d,) float64."""

    def to(self, device: torch.device) -> Self:
        """Return the same model on ``device``."""

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return named tensors and JSON-able metadata from which ``from_tensors`` makes the same model."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Self:
        """Return the model that ``to_tensors`` took apart. Raises DamagedFile where it cannot."""


@dataclass(frozen=True)
class FittedModel(Model):
    """Training rows X (n, d), alpha (n, c), M (d, d) or (d,) float64, and the kernel between rows.

    ``row_weights`` (n,) float64, if the rows have any: for the spread of the columns, alpha has them already.
    """

    X: Tensor
    alpha: Tensor
    M: Tensor
    kernel: Kernel
    bandwidth: float | None
    targets: Targets
    row_weights: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors in memory."""
        return sum(tensor.nbytes for tensor in self.to_tensors()[0].values())

    @classmethod
    def from_iterate(
        cls, X: Tensor, iterate: Iterate, config: FitConfig, targets: Targets, weights: Tensor | None = None
    ) -> Self:
        """Return the model of one iterate of a fit on rows X (n, d) with ``weights`` (n,)."""
        # rounding depends on the layout in memory: as it is laid out here it comes back from a file
        alpha = iterate.alpha.contiguous()
        X = X.to(alpha.dtype).contiguous()
        return cls(X, alpha, iterate.M.contiguous(), config.kernel_function, iterate.bandwidth, targets, weights)

    def raw(self, X: Tensor) -> Tensor:
        """Return standardised outputs, or class scores less the classes' frequencies, (m, c).

        Memory is one block of kernel rows.
        """
        return predict_rows(X.to(self.X.device, self.X.dtype), self.points, self.alpha, self.bandwidth)

    @cached_property
    def points(self) -> KernelPoints:
        """The training rows as the kernel sees them."""
        # what M makes of the training rows costs n·d² once; a few rows to predict cost far less
        points = KernelPoints(self.X, self.M.to(self.X.dtype), self.kernel)
        points.release()
        return points

    def importance(self) -> Tensor:
        """Return each column's share of the mean squared distance between training rows, (d,) float64."""
        return summary.importance(self.M, summary.variances(self.X, weights=self.row_weights))

    def to(self, device: torch.device) -> Self:
        """Return the same model on ``device``."""
        return type(self)(
            self.X.to(device),
            self.alpha.to(device),
            self.M.to(device),
            self.kernel,
            self.bandwidth,
            self.targets.to(device),
            None if self.row_weights is None else self.row_weights.to(device),
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return named tensors and JSON-able metadata from which ``from_tensors`` makes the same model."""
        tensors = {"X": self.X, "alpha": self.alpha, "M": self.M}
        if self.row_weights is not None:
            tensors["row_weights"] = self.row_weights
        metadata: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "kernel": self.kernel.name,
            "exponent": self.kernel.exponent,
            "bandwidth": self.bandwidth,
        }
        of_targets, about_targets = targets_to_tensors(self.targets)
        if "class_frequencies" in of_targets:
            metadata["format_version"] = CENTRED_FORMAT
        return tensors | of_targets, metadata | about_targets

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Self:
        """Return the model that ``to_tensors`` took apart.

        Raises:
            DamagedFile: the format is of another version, or the tensors do not go together.
        """
        version = metadata["format_version"]
        known = (FORMAT_VERSION, CENTRED_FORMAT) if "n_classes" in metadata else (FORMAT_VERSION,)
        if version not in known:
            raise DamagedFile(
                f"the model has format version {version}; this program reads {' and '.join(map(str, known))}"
            )
        targets = targets_from_tensors(tensors, metadata, centred=version == CENTRED_FORMAT)
        if metadata["kernel"] not in KERNELS:
            raise DamagedFile(f"the model's kernel is {metadata['kernel']!r}, which is none")
        kernel = kernel_of(metadata["kernel"], metadata["exponent"])
        weights = tensors.get("row_weights")
        model = cls(tensors["X"], tensors["alpha"], tensors["M"], kernel, metadata["bandwidth"], targets, weights)
        _check(model)
        return model


def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Model:
    """Return the model that ``to_tensors`` took apart.

    Raises:
        DamagedFile: the format is unknown or of another version, or the tensors do not go together.
    """
    from worker.engine.blocks.model import BLOCKS, BlocksModel  # which needs this module

    formats: dict[str, type[Model]] = {KERNEL_MACHINE: FittedModel, BLOCKS: BlocksModel}
    name = metadata.get("format", KERNEL_MACHINE)
    if name not in formats:
        raise DamagedFile(f"the model has format {name!r}; this program reads {', '.join(formats)}")
    return formats[name].from_tensors(tensors, metadata)


def load(path: str | Path) -> Model:
    """Return the model of a file that the service exported or an estimator saved. It answers encoded rows.

    The file alone is needed, and of libraries torch alone. ``worker.serving.model.load`` answers whole tables.

    Raises:
        DamagedFile: it is no such file, it is cut off, or it is of a newer format.
        OSError: it cannot be opened.
    """
    tensors, metadata = files.read(path)
    try:
        return from_tensors(tensors, metadata["engine"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(f"{path} holds no model: {error!r} is missing or wrong in it") from error
    except DamagedFile as error:
        raise DamagedFile(f"{path}: {error}") from error


def _check(model: FittedModel) -> None:
    """Refuse tensors and kernels that do not go together: what is found here is not found in the middle of an answer.

    Raises:
        DamagedFile: they do not.
    """
    X, alpha, M, kernel = model.X, model.alpha, model.M, model.kernel
    n, d = X.shape if X.ndim == 2 else (-1, -1)
    sides = [model.targets.n_outputs]
    if isinstance(model.targets, RegressionTargets):
        sides.append(len(model.targets.scale))
    elif model.targets.frequencies is not None:
        sides.append(len(model.targets.frequencies))
    if (
        tuple(M.shape) not in ((d, d), (d,))
        or any(tuple(alpha.shape) != (n, side) for side in sides)
        or (model.row_weights is not None and tuple(model.row_weights.shape) != (n,))
        or not X.dtype == alpha.dtype in (torch.float32, torch.float64)
    ):
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in model.to_tensors()[0].items())
        raise DamagedFile(f"the model's tensors do not go together: {shapes}")
    known = isinstance(kernel.exponent, int | float | None)
    if not known or not (isinstance(model.bandwidth, int | float) or not kernel.has_bandwidth):
        raise DamagedFile(f"the model's kernel is {kernel.name!r} with bandwidth {model.bandwidth!r}, which is none")
