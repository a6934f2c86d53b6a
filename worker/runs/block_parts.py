"""The run kinds ``block`` and ``leaf``: parts of a fit by blocks, each on rows of its own at one M for all."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.contracts.messages import BlockOrder, LeafOrder, PartDone
from worker.contracts.parts import BlockDone, LeafDone
from worker.contracts.specs import FitSpec
from worker.engine.blocks.learn import BlockResult, block_feature_sum
from worker.engine.blocks.leaves import Leaf, fit_leaf
from worker.engine.config import FitConfig
from worker.engine.estimate import estimate
from worker.engine.model import FittedModel
from worker.engine.targets import ClassTargets, RegressionTargets, Targets
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack, unpack
from worker.training.machine import Machine


@dataclass(frozen=True)
class RoundState:
    """What all parts of a round share: M (d, d) or (d,) float64, the coding of targets, and how to solve."""

    M: Tensor
    targets: Targets
    config: FitConfig

    def packed(self, spec: FitSpec) -> bytes:
        """Return a file that ``of`` reads. ``spec`` without choice; its ridges are those of the config."""
        tensors, metadata = targets_as_tensors(self.targets)
        about = {"spec": spec.model_dump(mode="json"), "ridges": list(self.config.ridges)}
        return pack({"M": self.M.cpu().numpy(), **tensors}, {**about, **metadata})

    @classmethod
    def of(cls, content: bytes) -> "RoundState":
        """Return the state that ``packed`` stored."""
        arrays, metadata = unpack(content)
        spec = FitSpec.model_validate(metadata["spec"])
        config = FitConfig(**spec.engine_options(), ridges=tuple(metadata["ridges"]), raise_ridge=spec.ridge == "auto")
        return cls(torch.from_numpy(arrays["M"]), targets_of(arrays, metadata), config)


def targets_as_tensors(targets: Targets) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return named arrays and metadata that ``targets_of`` makes the same targets of."""
    if isinstance(targets, RegressionTargets):
        return {"mean": targets.mean.cpu().numpy(), "scale": targets.scale.cpu().numpy()}, {}
    arrays = {} if targets.frequencies is None else {"frequencies": targets.frequencies.cpu().numpy()}
    return arrays, {"n_classes": targets.n_classes}


def targets_of(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Targets:
    """Return the targets that ``targets_as_tensors`` took apart; other entries are ignored."""
    if "n_classes" not in metadata:
        return RegressionTargets(torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["scale"]))
    frequencies = torch.from_numpy(arrays["frequencies"]) if "frequencies" in arrays else None
    return ClassTargets(metadata["n_classes"], frequencies)


def pack_rows(X: Tensor, Y: Tensor) -> bytes:
    """Return the file of a part's rows X (n, d) float64 and raw targets."""
    return pack({"X": X.numpy(), "Y": Y.numpy()}, {})


def block(order: BlockOrder, artifacts: Artifacts, machine: Machine) -> PartDone:
    """Solve the rows of a block at the round's M and store what they say of the next M.

    Raises:
        DoesNotFit: there is too little memory.
        EngineError: the numerics failed.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    began = time.perf_counter()
    state, X, Y = _read(order, artifacts, machine)
    result = block_feature_sum(X, Y, state.targets, state.config, state.M, state.config.seed + order.work.number)
    content = pack({"feature": result.feature.cpu().numpy()}, {})
    file = artifacts.put_bytes(f"jobs/{order.prefix}/block-{order.work.number:04d}.safetensors", content)
    return PartDone(
        result=BlockDone(
            file=file,
            loss=result.loss,
            ridge=result.ridge,
            bandwidth=result.bandwidth,
            rows=result.rows,
            seconds=time.perf_counter() - began,
        )
    )


def stored_block(done: BlockDone, artifacts: Artifacts) -> BlockResult:
    """Return the result that ``block`` stored."""
    arrays, _ = unpack(artifacts.read_bytes(done.file))
    return BlockResult(torch.from_numpy(arrays["feature"]), done.loss, done.ridge, done.bandwidth, done.rows)


def leaf(order: LeafOrder, artifacts: Artifacts, machine: Machine) -> PartDone:
    """Fit the rows of a leaf at the chosen M and store its kernel machine; errors as of ``block``."""
    began = time.perf_counter()
    state, X, Y = _read(order, artifacts, machine)
    fitted = fit_leaf(X, Y, state.targets, state.config, state.M, state.config.seed + order.work.number)
    tensors, metadata = fitted.model.to_tensors()
    content = pack({name: tensor.cpu().numpy() for name, tensor in tensors.items()}, {"engine": metadata})
    file = artifacts.put_bytes(f"jobs/{order.prefix}/leaf-{order.work.number:04d}.safetensors", content)
    return PartDone(
        result=LeafDone(
            file=file,
            loss=fitted.loss,
            ridge=fitted.ridge,
            bandwidth=fitted.model.bandwidth,
            rows=len(X),
            seconds=time.perf_counter() - began,
        )
    )


def stored_leaf(done: LeafDone, artifacts: Artifacts) -> Leaf:
    """Return the leaf that ``leaf`` stored."""
    arrays, metadata = unpack(artifacts.read_bytes(done.file))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Leaf(FittedModel.from_tensors(tensors, metadata["engine"]), done.ridge, done.loss)


def _read(order: BlockOrder | LeafOrder, artifacts: Artifacts, machine: Machine) -> tuple[RoundState, Tensor, Tensor]:
    state = RoundState.of(artifacts.read_bytes(order.work.state))
    arrays, _ = unpack(artifacts.read_bytes(order.work.rows))
    X, Y = torch.from_numpy(arrays["X"]), torch.from_numpy(arrays["Y"])
    n, d = X.shape
    machine.check_fits(estimate(n, d, state.targets.n_outputs, 0, state.config).bytes)
    device = machine.device
    moved = RoundState(state.M.to(device), state.targets.to(device), state.config)
    return moved, X.to(device), Y.to(device)
