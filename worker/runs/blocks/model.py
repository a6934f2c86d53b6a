"""The model that a fit by blocks ends with, and the files that it is stored in."""

from typing import Any

import torch

from worker.contracts.messages import BlocksOrder, FitDone, FittedModelSummary
from worker.contracts.parts import LeafDone
from worker.contracts.validation import left_out_chose, validation_chose
from worker.engine.blocks.model import BlocksModel
from worker.engine.problem import Iterate
from worker.runs.blocks.parts import stored_leaf
from worker.runs.blocks.state import BlocksState
from worker.runs.checkpoints import Checkpoints, Trail
from worker.serving.model import ServedModel
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack
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
    leaves = [stored_leaf(done.file, artifacts) for done in made]
    blocks = [stored_leaf(ref, artifacts).alone for ref in state.machines or ()]
    variances = torch.tensor(state.columns["variances"], dtype=torch.float64)
    model = BlocksModel.of(state.tree, leaves, blocks, state.blend.share, state.blend.temperature, variances)
    request = order.request
    features, targets = map(order.table.model_columns, (request.features or (), request.targets))
    served = ServedModel(state.encoder, model, order.task, state.classes, features, targets)
    folder = f"models/{order.prefix}"
    file = artifacts.put_bytes(f"{folder}/model.safetensors", pack(*served.to_tensors()))
    first = leaves[0].alone.model
    best = Iterate(state.best, model.M, first.alpha, leaves[0].alone.ridge, first.bandwidth, None, state.metrics)
    content = checkpoints.matrices(trail, best, state.columns["variances"])
    matrices = artifacts.put_bytes(f"{folder}/matrices.safetensors", content)
    ridges = sorted(model.ridges)
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
            iteration=state.best,
            iterations=len(state.losses) - 1,
            ridge=ridges[(len(ridges) - 1) // 2],
            bandwidth=first.bandwidth,
            precision=str(first.alpha.dtype).removeprefix("torch."),
            solver=f"blocks: one M of {len(state.chosen[0])} blocks, {len(leaves)} leaves at it",
            refitted=state.refits,
            choices=state.runs,
            training_rows=training + held_out if state.refits else training,
            history=state.history,
            versions=versions(),
        ),
    )
