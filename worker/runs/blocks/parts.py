"""The run kinds ``block``, ``machine`` and ``leaf``: parts of a fit by blocks, each on rows of its own at one M."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import DoesNotFit
from worker.contracts.messages import BlockOrder, LeafOrder, MachineOrder, PartDone
from worker.contracts.parts import BlockDone, LeafDone, LeafWork, MachineDone
from worker.contracts.specs import FitSpec
from worker.engine import summary
from worker.engine.blocks.answers import mean_outputs
from worker.engine.blocks.learn import BlockResult, block_feature_sum
from worker.engine.blocks.machines import Leaf, fit_leaf, fit_machine, refit_leaf
from worker.engine.blocks.machines import Machine as Fitted
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError
from worker.engine.estimate import estimate
from worker.engine.model import FittedModel
from worker.engine.targets import Targets, targets_from_tensors, targets_to_tensors
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack, unpack
from worker.training.machine import Machine


@dataclass(frozen=True)
class RoundState:
    """What all parts of a round share: M (d, d) or (d,) float64, the coding of targets, and how to solve.

    ``machines``: the files of the blocks' machines, for leaves. ``validation``: that of rows which choose.
    """

    M: Tensor
    targets: Targets
    config: FitConfig
    machines: tuple[ArtifactRef, ...] = ()
    validation: ArtifactRef | None = None

    def packed(self, spec: FitSpec) -> bytes:
        """Return a file that ``of`` reads. ``spec`` without choice; its ridges are those of the config."""
        tensors, metadata = targets_to_tensors(self.targets)
        about = {
            "spec": spec.model_dump(mode="json"),
            "ridges": list(self.config.ridges),
            "machines": [ref.model_dump() for ref in self.machines],
            "validation": None if self.validation is None else self.validation.model_dump(),
        }
        arrays = {name: tensor.cpu().numpy() for name, tensor in {"M": self.M, **tensors}.items()}
        return pack(arrays, {**about, **metadata})

    @classmethod
    def of(cls, content: bytes) -> "RoundState":
        """Return the state that ``packed`` stored."""
        arrays, metadata = unpack(content)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        spec = FitSpec.model_validate(metadata["spec"])
        config = FitConfig(**spec.engine_options(), ridges=tuple(metadata["ridges"]), raise_ridge=spec.ridge == "auto")
        machines = tuple(ArtifactRef.model_validate(ref) for ref in metadata["machines"])
        judging = metadata["validation"]
        validation = None if judging is None else ArtifactRef.model_validate(judging)
        targets = targets_from_tensors(tensors, metadata, centred="class_frequencies" in tensors)
        return cls(tensors["M"], targets, config, machines, validation)


@dataclass(frozen=True)
class PartRows:
    """The rows of a part: X (n, d) float64, and raw targets Y.

    ``numbers`` (n,) int64: of the rows in their dataset; None of rows that only judge. ``own`` (n,) int64: of a leaf,
    which block has trained each row, −1 for none. ``training``: so many rows, the first, train; the others were held
    out. None: all of them train.
    """

    X: Tensor
    Y: Tensor
    numbers: Tensor | None = None
    own: Tensor | None = None
    training: int | None = None

    def packed(self) -> bytes:
        """Return a file that ``of`` reads."""
        named = {"X": self.X, "Y": self.Y, "numbers": self.numbers, "own": self.own}
        return pack(
            {name: tensor.numpy() for name, tensor in named.items() if tensor is not None}, {"training": self.training}
        )

    @classmethod
    def of(cls, ref: ArtifactRef, artifacts: Artifacts) -> "PartRows":
        """Return the rows of a stored file."""
        arrays, metadata = unpack(artifacts.read_bytes(ref))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(
            tensors["X"], tensors["Y"], tensors.get("numbers"), tensors.get("own"), training=metadata["training"]
        )

    def first(self, count: int | None) -> "PartRows":
        """Return the first rows alone, all of them for None."""
        numbers, own = (part if part is None else part[:count] for part in (self.numbers, self.own))
        return PartRows(self.X[:count], self.Y[:count], numbers, own)

    def to(self, device: torch.device) -> "PartRows":
        """Return the same rows on ``device``; their numbers stay."""
        own = self.own if self.own is None else self.own.to(device)
        return replace(self, X=self.X.to(device), Y=self.Y.to(device), own=own)


def block(order: BlockOrder, artifacts: Artifacts, machine: Machine) -> PartDone:
    """Solve the rows of a block at the round's M and store what they say of the next M.

    Raises:
        DoesNotFit: there is too little memory.
        EngineError: the numerics failed.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    began = time.perf_counter()
    state, rows = _read(order, artifacts, machine)
    judging = None
    if state.validation is not None:
        held_out = PartRows.of(state.validation, artifacts).to(machine.device)
        judging = held_out.X, held_out.Y
    seed = state.config.seed + order.work.number
    result = block_feature_sum(rows.X, rows.Y, state.targets, state.config, state.M, seed, judging)
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


def block_machine(order: MachineOrder, artifacts: Artifacts, machine: Machine) -> PartDone:
    """Fit the rows of a block at the chosen M and store its kernel machine; errors as of ``block``."""
    began = time.perf_counter()
    state, rows = _read(order, artifacts, machine)
    config = replace(state.config, ridge=order.work.ridge)
    fitted = fit_machine(rows.X, rows.Y, state.targets, config, state.M, config.seed + order.work.number)
    key = f"jobs/{order.prefix}/machine-{order.work.number:04d}.safetensors"
    return PartDone(result=MachineDone(**_kept(Leaf(fitted), rows, key, artifacts, began)))


def leaf(order: LeafOrder, artifacts: Artifacts, machine: Machine) -> PartDone:
    """Fit the rows of a leaf at the chosen M and store its kernel machines; errors as of ``block``.

    Rows that were held out train only where the leaf was fitted without them before. Where that fails, it stays as it
    was.
    """
    began = time.perf_counter()
    state, rows = _read(order, artifacts, machine)
    X, Y = rows.X, rows.Y
    config, seed = state.config, state.config.seed + order.work.number
    key = f"jobs/{order.prefix}/leaf-{order.work.number:04d}.safetensors"
    if order.work.fitted is None:
        base = _base(state, rows, artifacts)
        fitted = fit_leaf(X, Y, state.targets, config, state.M, seed, base)
        return PartDone(result=LeafDone(**_kept(fitted, rows, key, artifacts, began, base)))
    stored, share, refused = stored_leaf(order.work.fitted, artifacts), order.work.share, None
    before = stored.leaf
    try:
        _check_fits(machine, state, rows)
        base = _base(state, rows, artifacts, stored.base)
        refitted = refit_leaf(X, Y, state.targets, config, state.M, seed, before, share, base)
        summary.checked(summary.variances(refitted.model.X))
    except (EngineError, DoesNotFit) as error:
        refitted, refused = before.mixed(share), str(error)
        rows = PartRows.of(order.work.rows, artifacts)
        rows = rows.first(rows.training)
    return PartDone(result=LeafDone(**_kept(Leaf(refitted), rows, key, artifacts, began), refused=refused))


def _base(state: RoundState, rows: PartRows, artifacts: Artifacts, known: Tensor | None = None) -> Tensor | None:
    """Return what the blocks answer to the rows of a leaf, (n, c) float64, each without the block that it has trained.

    None without blocks. ``known``: the same of the first rows.
    """
    if not state.machines:
        return None
    assert rows.own is not None  # noqa: S101 - of a leaf's rows it is said
    device = rows.X.device
    parts = [] if known is None else [known.to(device)]
    first = 0 if known is None else len(known)
    if first < len(rows.X):
        # each block is read when the one before is done
        blocks = (stored_leaf(ref, artifacts).leaf.alone.model.to(device).raw for ref in state.machines)
        parts.append(mean_outputs(blocks, rows.X[first:], rows.own[first:]))
    return torch.cat(parts)


@dataclass(frozen=True)
class StoredLeaf:
    """A leaf; which rows of the dataset its own are, (n,) int64; and what blocks answer to them, (n, c) or None."""

    leaf: Leaf
    numbers: np.ndarray
    base: Tensor | None


def stored_leaf(ref: ArtifactRef, artifacts: Artifacts) -> StoredLeaf:
    """Return what ``leaf`` stored; of ``block_machine``, a leaf that is fitted alone."""
    arrays, metadata = unpack(artifacts.read_bytes(ref))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    model = FittedModel.from_tensors(tensors, metadata["engine"])
    alone, *beside = (Fitted(model, part["ridge"], tuple(part["loss"])) for part in metadata["machines"])
    leaf = Leaf(alone, *(replace(part, model=replace(model, alpha=tensors["beside"])) for part in beside))
    return StoredLeaf(leaf, arrays["numbers"], tensors.get("base"))


def _kept(
    fitted: Leaf, rows: PartRows, key: str, artifacts: Artifacts, began: float, base: Tensor | None = None
) -> dict[str, Any]:
    """Store the machines of a leaf, or that of a block; return what the part says of them. ``base``: see ``_base``."""
    machines = [fitted.alone] if fitted.beside is None else [fitted.alone, fitted.beside]
    tensors, engine = fitted.alone.model.to_tensors()
    if fitted.beside is not None:
        tensors["beside"] = fitted.beside.model.alpha
    about = [{"ridge": part.ridge, "loss": list(part.loss)} for part in machines]
    assert rows.numbers is not None  # noqa: S101 - of rows that train
    tensors["numbers"] = rows.numbers
    if base is not None:
        tensors["base"] = base
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    return {
        "file": artifacts.put_bytes(key, pack(arrays, {"engine": engine, "machines": about})),
        "loss": machines[-1].loss,
        "ridge": machines[-1].ridge,
        "bandwidth": fitted.alone.model.bandwidth,
        "rows": len(fitted.alone.model.X),
        "seconds": time.perf_counter() - began,
    }


def _read(
    order: BlockOrder | MachineOrder | LeafOrder, artifacts: Artifacts, machine: Machine
) -> tuple[RoundState, PartRows]:
    state = RoundState.of(artifacts.read_bytes(order.work.state))
    rows = PartRows.of(order.work.rows, artifacts)
    if not isinstance(order.work, LeafWork) or order.work.fitted is None:
        # rows that join a leaf may be too many, and it stays as it was
        rows = rows.first(rows.training)
        _check_fits(machine, state, rows)
    device = machine.device
    return replace(state, M=state.M.to(device), targets=state.targets.to(device)), rows.to(device)


def _check_fits(machine: Machine, state: RoundState, rows: PartRows) -> None:
    n, d = rows.X.shape
    machine.check_fits(estimate(n, d, state.targets.n_outputs, 0, state.config).bytes)
