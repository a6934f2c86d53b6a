"""The model that a fit by blocks ends with, and the files that it is stored in."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worker.contracts.messages import BlocksOrder, FitDone
from worker.contracts.parts import LeafDone
from worker.contracts.resources.fitted import FittedModelSummary
from worker.contracts.validation import left_out_chose, validation_chose
from worker.engine.blocks.answers import MachineList
from worker.engine.blocks.machines import Machine
from worker.engine.blocks.model import BlocksModel, Head
from worker.engine.model import FittedModel
from worker.engine.problem import Iterate
from worker.runs.blocks.parts import stored_leaf
from worker.runs.blocks.state import BlocksState
from worker.runs.checkpoints import Checkpoints, Trail
from worker.runs.data import columns_of, unread_by
from worker.serving.model import Origin, ServedModel
from worker.serving.stored import write_model
from worker.store.files.artifacts import Artifacts
from worker.training.machine import versions


def stored_model(
    order: BlocksOrder,
    asked: dict[str, Any],
    state: BlocksState,
    made: list[LeafDone],
    artifacts: Artifacts,
    checkpoints: Checkpoints,
    trail: Trail,
) -> FitDone:
    """Store the model of a tree, blocks and a blend that are chosen. ``asked``: the request before 'auto' was settled.

    ``made``: the leaves, in the order of their numbers.
    """
    assert state.tree is not None  # noqa: S101 - there are leaves
    assert state.blend is not None  # noqa: S101 - and they are blended
    tree, blend = state.tree, state.blend
    share = blend.share if state.machines else 0.0
    leaves = [done.file for done in made]
    # blocks without a share are left out
    stored = [*leaves, *(state.machines or () if share > 0 else ())]

    def machines() -> Iterator[tuple[Machine, np.ndarray]]:
        """Yield leaves and blocks, one in memory at a time, with the numbers of their rows."""
        for place, ref in enumerate(stored):
            kept = stored_leaf(ref, artifacts)
            yield kept.leaf.mixed(share) if place < len(leaves) else kept.leaf.alone, kept.numbers

    parts = [_Part.of(machine, numbers) for machine, numbers in machines()]
    # one that float32 could not solve brings float64 to all: they are stored as one tensor
    wide = max((part.dtype for part in parts), key=lambda dtype: dtype.itemsize)
    head = Head(
        tree,
        share,
        blend.temperature,
        torch.tensor(state.columns["variances"], dtype=torch.float64),
        tuple(len(part.numbers) for part in parts),
        tuple(part.bandwidth for part in parts),
        tuple(part.ridge for part in parts),
        tuple(part.loss for part in parts),
    )
    request = order.request
    features, targets = (columns_of(order, names) for names in (request.features or (), request.targets))
    first = next(machines())[0].model
    nothing = BlocksModel.assembled(head, first, MachineList(()), MachineList(()))
    numbers = np.concatenate([part.numbers for part in parts])
    origin = Origin(numbers, ((order.table.dataset, len(numbers)),))
    served = ServedModel(state.encoder, nothing, order.task, state.classes, features, targets, origin)
    folder = f"models/{order.prefix}"
    with tempfile.TemporaryDirectory(prefix="factrfm-fit-") as temporary:
        path = Path(temporary) / "model.safetensors"
        write_model(path, served, (_as(machine.model, wide) for machine, _ in machines()), head)
        file = artifacts.put_file(f"{folder}/model.safetensors", path)
    best = Iterate(state.best, first.M, first.alpha, parts[0].ridge, first.bandwidth, None, state.metrics)
    content = checkpoints.matrices(trail, best, state.columns["variances"])
    matrices = artifacts.put_bytes(f"{folder}/matrices.safetensors", content)
    ridges = sorted(head.ridges)
    training, held_out = state.rows
    return FitDone(
        model=file,
        matrices=matrices,
        summary=FittedModelSummary(
            task=order.task,
            classes=state.classes,
            features=features,
            targets=targets,
            encoded_names=list(state.encoder.names),
            encoded_sources=list(state.encoder.sources),
            spec=state.spec.model_dump(mode="json"),
            metrics=state.metrics,
            chosen_by=state.judges,
            validation_chose=validation_chose(asked),
            left_out_chose=left_out_chose(asked, state.metrics),
            left_out=unread_by(order),
            iteration=state.best,
            iterations=len(state.losses) - 1,
            ridge=ridges[(len(ridges) - 1) // 2],
            bandwidth=first.bandwidth,
            precision=str(wide).removeprefix("torch."),
            solver=f"blocks: one M of {len(state.chosen[0])} blocks, {tree.leaves} leaves at it",
            refitted=state.refits,
            choices=state.runs,
            training_rows=training + held_out if state.refits else training,
            dropped=state.dropped,
            history=state.history,
            versions=versions(),
        ),
    )


@dataclass(frozen=True)
class _Part:
    """What is said of a machine without its rows: these by their ``numbers`` in the dataset, (n,) int64."""

    numbers: np.ndarray
    bandwidth: float | None
    ridge: float
    loss: float
    dtype: torch.dtype

    @classmethod
    def of(cls, machine: Machine, numbers: np.ndarray) -> "_Part":
        model = machine.model
        return cls(numbers, model.bandwidth, machine.ridge, machine.loss[0], model.alpha.dtype)


def _as(model: FittedModel, dtype: torch.dtype) -> FittedModel:
    return replace(model, X=model.X.to(dtype), alpha=model.alpha.to(dtype))
