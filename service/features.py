"""What a model learned, or a fit has learned so far, as callers see it: importance, spectrum, matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.contracts.artifacts import Checkpoint, TuneCheckpoint
from worker.contracts.errors import Conflict, InvalidRequest, NotFound
from worker.contracts.resources import Direction, FeatureHistory, FeatureShare, LearnedFeatures, Loading
from worker.store import jobs, models
from worker.store.artifacts import Artifacts
from worker.store.database import Database
from worker.store.models import ModelRecord
from worker.store.tensors import unpack
from worker.tables.close_names import did_you_mean, shown

DIRECTIONS = 5
LOADINGS = 20


@dataclass(frozen=True)
class LearnedMatrix:
    """M (d, d) of one iteration, float32, with the names of its rows and columns.

    ``sources``: the original column of each of them; ``columns``: all original columns, in the order of the table.
    """

    iteration: int
    names: list[str]
    sources: list[str]
    columns: list[str]
    M: np.ndarray


def load_matrix(artifacts: Artifacts, record: ModelRecord, iteration: int | None = None) -> LearnedMatrix:
    """Return M of an iteration, of the chosen one by default.

    Raises:
        NotFound: that iteration did not run, or its matrix is not kept; the message names the kept ones.
    """
    summary = record.summary
    wanted = summary.iteration if iteration is None else iteration
    matrices, _ = unpack(artifacts.read_bytes(record.matrices))
    found = matrices.get(f"{wanted:04d}")
    if found is None:
        kept = ", ".join(str(int(name)) for name in sorted(matrices))
        raise NotFound(f"model {record.resource.id} has no matrix of iteration {wanted}; it has those of {kept}")
    columns = [column.name for column in summary.features]
    return LearnedMatrix(wanted, summary.encoded_names, summary.encoded_sources, columns, _square(found))


def load_job_matrix(
    database: Database, artifacts: Artifacts, job_id: str, iteration: int | None = None
) -> LearnedMatrix:
    """Return M of an iteration of a fit: while it runs that of the newest by default, then that of its model.

    Raises:
        NotFound: no such job, or no such iteration so far.
        Conflict: the job makes no such matrix, or has none yet.
    """
    job = jobs.get(database, job_id)
    if job.state == "succeeded" and job.kind in ("fit", "tune") and job.model is not None:
        return load_matrix(artifacts, models.get(database, job.model), iteration)
    stored = jobs.checkpoint(database, job_id)
    checkpoint = stored.winner if isinstance(stored, TuneCheckpoint) else stored
    if not isinstance(checkpoint, Checkpoint) or not checkpoint.matrices:
        raise Conflict(f"job {job_id} is a {job.kind}, {job.state}, and has no feature matrix yet")
    wanted = len(checkpoint.matrices) - 1 if iteration is None else iteration
    if wanted >= len(checkpoint.matrices):
        raise NotFound(f"job {job_id} has matrices of the iterations up to {len(checkpoint.matrices) - 1} so far")
    matrices, metadata = unpack(artifacts.read_bytes(checkpoint.matrices[wanted]))
    if "names" not in metadata:
        raise Conflict(f"the matrices of job {job_id} were written by an older version, which kept no names")
    [found] = matrices.values()
    return LearnedMatrix(wanted, metadata["names"], metadata["sources"], job.request["features"], _square(found))


def view(learned: LearnedMatrix, folded: bool, columns: Sequence[str]) -> LearnedMatrix:
    """Return the matrix as a caller asks for it: over original columns where ``folded``, of some columns where named.

    Raises:
        InvalidRequest: see ``select``.
    """
    whole = fold(learned) if folded else learned
    return select(whole, columns) if columns else whole


def fold(learned: LearnedMatrix) -> LearnedMatrix:
    """Return the matrix over original columns.

    Where a column is encoded as several numbers, an entry is the Frobenius norm of the block of encoded columns that it
    stands for. Such a block has no sign: its sum is near 0 where the encoded columns sum to a constant. Between columns
    that are encoded as one number each, an entry is that of M.
    """
    place = {name: index for index, name in enumerate(learned.columns)}
    member = np.zeros((len(place), len(learned.names)))
    member[[place[source] for source in learned.sources], range(len(learned.names))] = 1.0
    norms = np.sqrt(member @ learned.M.astype(np.float64) ** 2 @ member.T)
    single = member.sum(1) == 1
    entries = np.where(np.outer(single, single), member @ learned.M @ member.T, norms).astype(np.float32)
    return replace(learned, names=learned.columns, sources=learned.columns, M=entries)


def select(learned: LearnedMatrix, names: Sequence[str]) -> LearnedMatrix:
    """Return the rows and columns of the matrix that are named, in that order.

    Raises:
        InvalidRequest: one is none of its columns.
    """
    place = {name: index for index, name in enumerate(learned.names)}
    unknown = [name for name in names if name not in place]
    if unknown:
        hint = did_you_mean(unknown[0], place)
        raise InvalidRequest.at("query:columns", f"the matrix has no column {shown(unknown[0])!r}{hint}")
    rows = [place[name] for name in names]
    return replace(
        learned, names=list(names), sources=[learned.sources[row] for row in rows], M=learned.M[rows][:, rows]
    )


def importance(learned: LearnedMatrix) -> list[FeatureShare]:
    """Return each original column's share of the trace, largest first."""
    by_source: dict[str, float] = dict.fromkeys(learned.columns, 0.0)
    for source, share in zip(learned.sources, _shares(learned).tolist(), strict=True):
        by_source[source] += share
    return _sorted(by_source)


def describe(learned: LearnedMatrix) -> LearnedFeatures:
    """Return shares of the trace by column, eigenvalues and leading directions."""
    import torch  # see service.predictor

    from worker.engine import summary

    M = torch.from_numpy(learned.M)
    spectrum = summary.spectrum(M)
    return LearnedFeatures(
        iteration=learned.iteration,
        importance=importance(learned),
        encoded_importance=_sorted(dict(zip(learned.names, _shares(learned).tolist(), strict=True))),
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


def _shares(learned: LearnedMatrix) -> np.ndarray:
    # as worker.engine.summary.importance, which would bring torch into a process that only shows pages
    diagonal = learned.M.diagonal().astype(np.float64).clip(min=0)
    shares: np.ndarray = diagonal / diagonal.sum()
    return shares


def _square(stored: np.ndarray) -> np.ndarray:
    return np.diag(stored) if stored.ndim == 1 else stored


def _sorted(shares: dict[str, float]) -> list[FeatureShare]:
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return [FeatureShare(feature=name, share=share) for name, share in ordered]


def _loadings(names: list[str], direction: np.ndarray) -> list[Loading]:
    leading = np.argsort(-np.abs(direction), kind="stable")[:LOADINGS]
    return [Loading(feature=names[index], weight=float(direction[index])) for index in leading]
