"""Checkpoints of a fit: the newest iterate, the best iterate, and the history.

A fit resumes from the newest file; the best file would be its result if it ended now. Both hold tensors and JSON. In a
cross-validation the trail holds the scores of the finished folds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from worker.contracts.artifacts import ArtifactRef, Checkpoint, ChoosingCheckpoint, FoldsCheckpoint
from worker.contracts.events import LogData
from worker.contracts.messages import FitOrder, LogReport, TuneOrder
from worker.contracts.parts import Score
from worker.contracts.resources import HeatSummary, IterationSummary
from worker.contracts.specs import FitSpec
from worker.engine.problem import Iterate
from worker.engine.recursion import FitState
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack, unpack

MATRICES_BYTES = 256 * 2**20
"""The matrices of the history are stored up to this total size; later ones only as the checkpoint needs them."""


OrderT = TypeVar("OrderT", FitOrder, TuneOrder)


def drop_outdated_checkpoint(order: OrderT, report: Callable[[LogReport], None]) -> OrderT:
    """Return the order without its checkpoint if that is of a classification by an older version.

    Older versions did not centre class targets and computed losses from scores instead of probabilities, so their
    checkpoints cannot be continued.
    """
    checkpoint = order.checkpoint
    if checkpoint is None or isinstance(checkpoint, FoldsCheckpoint | ChoosingCheckpoint):
        return order
    if checkpoint.centred or order.task == "regression":
        return order
    message = "the checkpoint is of an older version, which scored classes differently: the job begins anew"
    report(LogReport(data=LogData(level="warning", message=message)))
    return order.model_copy(update={"checkpoint": None})


@dataclass
class Trail:
    """State of a fit beside that of the recursion.

    ``spec``: resolved, with the ``runs`` that selected it and the reason for the ``solver``. ``folds``: scores of each
    finished fold by iteration; ``scores``: of the current fold. ``history`` and ``matrices``: of the current fit.
    """

    spec: FitSpec | None = None
    runs: list[HeatSummary] = field(default_factory=list)
    solver: str | None = None

    folds: list[list[Score]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    history: list[IterationSummary] = field(default_factory=list)
    matrices: list[ArtifactRef] = field(default_factory=list)

    @property
    def fold(self) -> int:
        """The current fold, from 1."""
        return len(self.folds) + 1


class Checkpoints:
    """Writes and reads the checkpoints of one attempt, under ``jobs/{prefix}/``."""

    def __init__(self, artifacts: Artifacts, prefix: str) -> None:
        self._artifacts = artifacts
        self._prefix = f"jobs/{prefix}"
        self._best: tuple[str, ArtifactRef] | None = None

    def save(self, stage: str, state: FitState, trail: Trail, fold: int | None) -> Checkpoint:
        """Store the state and return its checkpoint. ``stage`` names the fold or the last fit in file names."""
        name = f"{stage}-{state.current.iteration:04d}"
        newest = self._put(f"{name}.safetensors", state.current, _metadata(state, trail))
        best = self._best_ref(stage, state, newest)
        return Checkpoint(
            iteration=state.current.iteration,
            fold=fold,
            newest=newest,
            best=best,
            matrices=list(trail.matrices),
            centred=True,
        )

    def matrices(self, trail: Trail, best: Iterate, variances: list[float]) -> bytes:
        """Return M of every stored iteration, and always of the chosen one.

        ``variances``: of the encoded columns over the rows of the model.
        """
        tensors: dict[str, Any] = {}
        for ref in trail.matrices:
            tensors |= unpack(self._artifacts.read_bytes(ref))[0]
        tensors[f"{best.iteration:04d}"] = best.M.to("cpu", torch.float32).numpy()
        return pack(tensors, {"iterations": sorted(tensors), "variances": variances})

    def save_matrix(
        self, stage: str, iteration: int, M: torch.Tensor, trail: Trail, columns: Mapping[str, Sequence[Any]]
    ) -> bool:
        """Store M of an iteration for the history. Return whether there was room for it.

        ``columns`` serves queries while the fit runs: ``names`` of the encoded columns, their ``sources`` among the
        original ones, and their ``variances`` over the training rows.
        """
        array = M.detach().to("cpu", torch.float32).numpy()
        if sum(ref.bytes for ref in trail.matrices) + array.nbytes > MATRICES_BYTES:
            return False
        content = pack({f"{iteration:04d}": array}, {name: list(values) for name, values in columns.items()})
        key = f"{self._prefix}/{stage}-M-{iteration:04d}.safetensors"
        trail.matrices.append(self._artifacts.put_bytes(key, content))
        return True

    def load(self, checkpoint: Checkpoint, device: torch.device) -> tuple[FitState, Trail]:
        """Return what ``save`` stored, with the tensors on ``device``.

        Raises:
            ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
        """
        tensors, metadata = unpack(self._artifacts.read_bytes(checkpoint.newest))
        current = _iterate(tensors, metadata["iterate"], device)
        best = current
        if checkpoint.best.key != checkpoint.newest.key:
            best_tensors, best_metadata = unpack(self._artifacts.read_bytes(checkpoint.best))
            best = _iterate(best_tensors, best_metadata["iterate"], device)
        state = FitState(current=current, best=best, **metadata["state"])
        trail = Trail(
            spec=None if metadata["spec"] is None else FitSpec.model_validate(metadata["spec"]),
            runs=[HeatSummary.model_validate(run) for run in metadata["heats"]],
            solver=metadata["solver"],
            folds=[[Score.model_validate(score) for score in fold] for fold in metadata["folds"]],
            scores=[Score.model_validate(score) for score in metadata["scores"]],
            history=[IterationSummary.model_validate(iteration) for iteration in metadata["history"]],
            matrices=list(checkpoint.matrices),
        )
        return state, trail

    def _best_ref(self, stage: str, state: FitState, newest: ArtifactRef) -> ArtifactRef:
        name = f"{stage}-{state.best.iteration:04d}"
        if state.best.iteration == state.current.iteration:
            self._best = (name, newest)
        elif self._best is None or self._best[0] != name:
            # Another attempt wrote the best file and its folder may be deleted, so this attempt stores its own.
            self._best = (name, self._put(f"{name}-best.safetensors", state.best, {}))
        return self._best[1]

    def _put(self, name: str, iterate: Iterate, metadata: dict[str, Any]) -> ArtifactRef:
        tensors: dict[str, np.ndarray] = {
            "M": iterate.M.detach().cpu().numpy(),
            "alpha": iterate.alpha.detach().cpu().numpy(),
        }
        scalars = {
            "iteration": iterate.iteration,
            "ridge": iterate.ridge,
            "bandwidth": iterate.bandwidth,
            "loss": iterate.loss,
            "metrics": dict(iterate.metrics),
        }
        content = pack(tensors, {"iterate": scalars, **metadata})
        return self._artifacts.put_bytes(f"{self._prefix}/{name}", content)


def _metadata(state: FitState, trail: Trail) -> dict[str, Any]:
    return {
        "state": {
            "since_best": state.since_best,
            "stopped": state.stopped,
            "skipped_ridges": list(state.skipped_ridges),
        },
        "spec": None if trail.spec is None else trail.spec.model_dump(mode="json"),
        "solver": trail.solver,
        "heats": [run.model_dump(mode="json") for run in trail.runs],
        "folds": [[score.model_dump(mode="json") for score in fold] for fold in trail.folds],
        "scores": [score.model_dump(mode="json") for score in trail.scores],
        "history": [iteration.model_dump(mode="json") for iteration in trail.history],
    }


def _iterate(tensors: dict[str, np.ndarray], scalars: dict[str, Any], device: torch.device) -> Iterate:
    loss = scalars["loss"]
    scalars = {**scalars, "loss": None if loss is None else tuple(loss)}
    return Iterate(
        M=torch.from_numpy(tensors["M"]).to(device), alpha=torch.from_numpy(tensors["alpha"]).to(device), **scalars
    )
