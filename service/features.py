"""What a model learned, as callers see it: importance, spectrum, matrices."""

from dataclasses import dataclass

import numpy as np

from worker.contracts.errors import NotFound
from worker.contracts.resources import Direction, FeatureHistory, Features, FeatureShare, Loading
from worker.store.artifacts import Artifacts
from worker.store.models import ModelRecord
from worker.store.tensors import unpack

DIRECTIONS = 5
LOADINGS = 20


@dataclass(frozen=True)
class LearnedMatrix:
    """M (d, d) of one iteration, float32, with the names of its rows and columns."""

    iteration: int
    names: list[str]
    M: np.ndarray


def load_matrix(artifacts: Artifacts, record: ModelRecord, iteration: int | None = None) -> LearnedMatrix:
    """Return M of an iteration, of the chosen one by default.

    Raises:
        NotFound: that iteration did not run, or its matrix is not kept; the message names the kept ones.
    """
    wanted = record.summary.iteration if iteration is None else iteration
    matrices, _ = unpack(artifacts.read_bytes(record.matrices))
    found = matrices.get(f"{wanted:04d}")
    if found is None:
        kept = ", ".join(str(int(name)) for name in sorted(matrices))
        raise NotFound(f"model {record.resource.id} has no matrix of iteration {wanted}; it has those of {kept}")
    return LearnedMatrix(wanted, record.summary.encoded_names, np.diag(found) if found.ndim == 1 else found)


def importance(record: ModelRecord, learned: LearnedMatrix) -> dict[str, float]:
    """Return the share of the trace of M by original column; those that no encoded column comes from have 0."""
    import torch  # see service.predictor

    from worker.engine import summary

    return _by_source(record, summary.importance(torch.from_numpy(learned.M)).tolist())


def describe(record: ModelRecord, learned: LearnedMatrix) -> Features:
    """Return shares of the trace by column, eigenvalues and leading directions."""
    import torch  # see service.predictor

    from worker.engine import summary

    M = torch.from_numpy(learned.M)
    shares = summary.importance(M).tolist()
    spectrum = summary.spectrum(M)
    return Features(
        model=record.resource.id,
        iteration=learned.iteration,
        importance=_sorted(_by_source(record, shares)),
        encoded_importance=_sorted(dict(zip(learned.names, shares, strict=True))),
        eigenvalues=spectrum.eigenvalues.tolist(),
        effective_rank=summary.effective_rank(spectrum.eigenvalues),
        directions=[
            Direction(
                eigenvalue=float(spectrum.eigenvalues[index]),
                loadings=_loadings(learned.names, spectrum.directions[:, index].numpy()),
            )
            for index in range(min(DIRECTIONS, len(learned.names)))
        ],
    )


def history(record: ModelRecord) -> FeatureHistory:
    """Return every iteration that ran."""
    return FeatureHistory(model=record.resource.id, chosen=record.summary.iteration, items=record.summary.history)


def _by_source(record: ModelRecord, shares: list[float]) -> dict[str, float]:
    by_source: dict[str, float] = {column.name: 0.0 for column in record.summary.features}
    for source, share in zip(record.summary.encoded_sources, shares, strict=True):
        by_source[source] += share
    return by_source


def _sorted(shares: dict[str, float]) -> list[FeatureShare]:
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return [FeatureShare(feature=name, share=share) for name, share in ordered]


def _loadings(names: list[str], direction: np.ndarray) -> list[Loading]:
    leading = np.argsort(-np.abs(direction), kind="stable")[:LOADINGS]
    return [Loading(feature=names[index], weight=float(direction[index])) for index in leading]
