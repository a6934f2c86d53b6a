"""The run kind ``candidate``: a short run of one way to fit, to choose between several. It is a part of a job."""

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.messages import CandidateOrder, PartDone
from worker.contracts.parts import CandidateDone
from worker.engine.choice import PlannedRun, carry_out, drawn_rows
from worker.engine.targets import Targets, targets_from_tensors, targets_to_tensors
from worker.engine.weights import RowWeights
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack, unpack
from worker.tables.encoding.encoder import Encoder
from worker.training.machine import Machine
from worker.training.model_selection import candidate_of
from worker.training.rows import TrainingRows


@dataclass(frozen=True)
class CandidateRows:
    """The rows that short runs with one encoding take: X (k, d) float64 and raw targets Y, drawn of ``n`` rows.

    ``validation``: rows that judge too, and their raw targets. ``weights``: of both, if they have any.
    """

    X: Tensor
    Y: Tensor
    n: int
    targets: Targets
    encoder: Encoder
    validation: tuple[Tensor, Tensor] | None
    weights: RowWeights | None = None

    @classmethod
    def drawn(cls, rows: TrainingRows, seed: int) -> "CandidateRows":
        """Draw of training rows."""
        drawn = drawn_rows(rows.Y, rows.targets, seed)
        weights = None if rows.weights is None else replace(rows.weights, training=rows.weights.training[drawn])
        return cls(rows.X[drawn], rows.Y[drawn], len(rows.Y), rows.targets, rows.encoder, rows.validation, weights)

    def packed(self) -> bytes:
        """Return a file that ``of`` reads."""
        tensors, metadata = targets_to_tensors(self.targets)
        tensors |= {"X": self.X, "Y": self.Y}
        if self.validation is not None:
            tensors |= {"validation_X": self.validation[0], "validation_Y": self.validation[1]}
        if self.weights is not None:
            tensors["weights"] = self.weights.training
            if self.weights.validation is not None:
                tensors["validation_weights"] = self.weights.validation
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()} | self.encoder.to_arrays()
        return pack(arrays, {**metadata, "n": self.n, "encoder": self.encoder.to_json()})

    @classmethod
    def of(cls, ref: ArtifactRef, artifacts: Artifacts) -> "CandidateRows":
        """Return the rows of a stored file."""
        arrays, metadata = unpack(artifacts.read_bytes(ref))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        validates = "validation_X" in tensors
        return cls(
            tensors["X"],
            tensors["Y"],
            metadata["n"],
            targets_from_tensors(tensors, metadata, centred="class_frequencies" in tensors),
            Encoder.from_json(metadata["encoder"], arrays),
            (tensors["validation_X"], tensors["validation_Y"]) if validates else None,
            RowWeights(tensors["weights"], tensors.get("validation_weights")) if "weights" in tensors else None,
        )


def candidate(order: CandidateOrder, artifacts: Artifacts, machine: Machine) -> PartDone:
    """Run a candidate for a short time, and return how it did.

    Raises:
        InvalidConfig: there is no row left to judge on.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    work, device = order.work, machine.device
    rows = CandidateRows.of(work.rows, artifacts)
    run = carry_out(
        PlannedRun(candidate_of(work.spec), work.rung, tuple(work.ridges)),
        rows.X.to(device),
        rows.Y.to(device),
        rows.targets.to(device),
        rows.n,
        validation=None if rows.validation is None else (rows.validation[0].to(device), rows.validation[1].to(device)),
        clock=time.perf_counter,
        weights=None if rows.weights is None else rows.weights.to(device),
    )
    done = CandidateDone(
        candidate=work.candidate, rung=work.rung, rows=run.rows, seconds=run.seconds or 0.0, failed=run.failed
    )
    if run.failed is None:
        done = done.model_copy(update={"loss": run.loss, "iteration": run.iteration, "ridge": run.ridge})
    return PartDone(result=done)
