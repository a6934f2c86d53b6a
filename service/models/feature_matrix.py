"""Feature matrices of models and of running fits: importance, spectrum, pictures.

Stored matrices never change, so descriptions and pictures are cached: with thousands of columns they take seconds. The
matrices themselves are read, and their checksums verified, each time.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

import numpy as np

from service.models.heatmap import heatmap
from service.runtime.context import Context
from worker.contracts.artifacts import ArtifactRef, BlocksCheckpoint, Checkpoint, TuneCheckpoint
from worker.contracts.errors import Conflict, InvalidRequest, NotFound
from worker.contracts.resources import Direction, FeatureHistory, FeatureShare, LearnedFeatures, Loading
from worker.store import jobs, models
from worker.store.files import safetensors_io
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import unpack
from worker.store.models import ModelRecord
from worker.tables.close_names import did_you_mean, shown

IDENTITY_TOLERANCE = 1e-6
BLOCK_ROWS = 4096
DIRECTIONS = 5
LOADINGS = 20
SHARE_BYTES = 1000
"""Approximate memory of a column in a description."""


@dataclass(frozen=True)
class MatrixSource:
    """The stored M of an iteration. ``key``: unique; ``read``: loads it."""

    key: tuple[str, int]
    read: Callable[[], "LearnedMatrix"] = field(repr=False)

    @property
    def iteration(self) -> int:
        """Number of the iteration, from 0."""
        return self.key[1]


@dataclass(frozen=True)
class LearnedMatrix:
    """M (d, d) of one iteration, float32, with the names of its rows and columns.

    ``sources``: the original column of each name; ``columns``: all original columns, in the order of the table.
    ``variances`` (d,): of the encoded training rows; None for jobs of older versions.
    """

    iteration: int
    names: list[str]
    sources: list[str]
    columns: list[str]
    M: np.ndarray
    variances: np.ndarray | None

    @property
    def owners(self) -> np.ndarray:
        """The index in ``columns`` of the source of each name."""
        place = {name: index for index, name in enumerate(self.columns)}
        return np.array([place[source] for source in self.sources], dtype=np.int64)


def of_model(context: Context, record: ModelRecord, iteration: int | None = None) -> MatrixSource:
    """Return the source of M of an iteration of a model, by default of the chosen one."""
    chosen = record.summary.iteration if iteration is None else iteration
    return MatrixSource((record.matrices.key, chosen), lambda: _read_model(context, record, chosen))


def of_job(context: Context, job_id: str, iteration: int | None = None) -> MatrixSource:
    """Return the source of M of an iteration of a fit, by default of the newest, after its end of its model.

    Raises:
        NotFound: the job or the iteration does not exist.
        Conflict: the job has no matrix, or none yet.
    """
    job = jobs.get(context.database, job_id)
    if job.state == "succeeded" and job.kind in ("fit", "tune") and job.model is not None:
        return of_model(context, models.get(context.database, job.model), iteration)
    stored = jobs.checkpoint(context.database, job_id)
    checkpoint = stored.winner if isinstance(stored, TuneCheckpoint) else stored
    if not isinstance(checkpoint, Checkpoint | BlocksCheckpoint) or not checkpoint.matrices:
        raise Conflict(f"job {job_id} is a {job.kind}, {job.state}, and has no feature matrix yet")
    chosen = len(checkpoint.matrices) - 1 if iteration is None else iteration
    if chosen >= len(checkpoint.matrices):
        raise NotFound(f"job {job_id} has matrices of the iterations up to {len(checkpoint.matrices) - 1} so far")
    ref, columns = checkpoint.matrices[chosen], job.request["features"]
    return MatrixSource((ref.key, chosen), lambda: _read_job(context.artifacts, job_id, ref, chosen, columns))


def load(source: MatrixSource) -> LearnedMatrix:
    """Return the matrix.

    Raises:
        NotFound: the matrix of that iteration is not stored; the message lists those that are.
        Conflict: an older version stored a job's matrix without names.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    return source.read()


def describe(context: Context, source: MatrixSource) -> LearnedFeatures:
    """Return importance by column, eigenvalues and leading directions.

    Raises:
        NotFound, Conflict, ArtifactMissing, ArtifactCorrupt: see ``load``.
    """

    def size(features: LearnedFeatures) -> int:
        return SHARE_BYTES * (len(features.importance) + len(features.encoded_importance))

    return context.learned.get((*source.key, "features"), lambda: _described(load(source)), size)


def picture(context: Context, source: MatrixSource, title: str, folded: bool, columns: Sequence[str]) -> bytes:
    """Return the matrix as a PNG: see ``view`` and ``heatmap``."""

    def draw() -> bytes:
        learned = view(load(source), folded, columns)
        return heatmap(learned.M, learned.names, title)

    if columns:
        # not cached: callers may choose any columns
        return draw()
    return context.learned.get((*source.key, "picture", title, folded), draw, len)


def view(learned: LearnedMatrix, folded: bool, columns: Sequence[str]) -> LearnedMatrix:
    """Return the matrix over original columns if ``folded``, restricted to ``columns`` if there are any.

    Raises:
        InvalidRequest: see ``select``.
    """
    matrix = fold(learned) if folded else learned
    return select(matrix, columns) if columns else matrix


def fold(learned: LearnedMatrix) -> LearnedMatrix:
    """Return the matrix over original columns.

    For a column that is encoded as several, an entry is the Frobenius norm of its block of M. A block has no sign: its
    sum is near 0 if the encoded columns sum to a constant. Between columns encoded as one each, an entry is that of M.
    """
    owners, d = learned.owners, len(learned.columns)
    order = np.argsort(owners, kind="stable")
    present, starts, counts = np.unique(owners[order], return_index=True, return_counts=True)
    ordered = learned.M[np.ix_(order, order)].astype(np.float64)
    squares = np.add.reduceat(np.add.reduceat(ordered**2, starts, axis=0), starts, axis=1)
    # a block of one entry keeps its sign
    firsts = ordered[np.ix_(starts, starts)]
    single = counts == 1
    entries = np.zeros((d, d), dtype=np.float32)
    entries[np.ix_(present, present)] = np.where(np.outer(single, single), firsts, np.sqrt(squares))
    return replace(learned, names=learned.columns, sources=learned.columns, M=entries, variances=None)


def select(learned: LearnedMatrix, names: Sequence[str]) -> LearnedMatrix:
    """Return the named rows and columns of the matrix, in that order.

    Raises:
        InvalidRequest: the matrix has no such column.
    """
    place = {name: index for index, name in enumerate(learned.names)}
    unknown = [name for name in names if name not in place]
    if unknown:
        hint = did_you_mean(unknown[0], place)
        raise InvalidRequest.at("query:columns", f"the matrix has no column {shown(unknown[0])!r}{hint}")
    rows = [place[name] for name in names]
    return replace(
        learned,
        names=list(names),
        sources=[learned.sources[row] for row in rows],
        M=learned.M[np.ix_(rows, rows)],
        variances=None if learned.variances is None else learned.variances[rows],
    )


def importance(learned: LearnedMatrix) -> list[FeatureShare]:
    """Return the share of each original column in the squared distance, largest first; see ``_shares``."""
    traces, shares = _by_column(learned, _trace_shares(learned)), _shares(learned)
    return _sorted(learned.columns, traces, None if shares is None else _by_column(learned, shares))


def learned_something(learned: LearnedMatrix) -> bool:
    """Return whether M differs from the identity, where every fit starts."""
    # like worker.engine.summary.is_identity, without importing torch
    diagonal = learned.M.diagonal()
    alone = np.count_nonzero(learned.M) == np.count_nonzero(diagonal)
    return not (alone and bool((np.abs(diagonal - 1) <= IDENTITY_TOLERANCE).all()))


def history(record: ModelRecord) -> FeatureHistory:
    """Return every iteration that ran."""
    model = record.resource
    return FeatureHistory(
        model=model.id,
        chosen=model.iteration,
        validation_chose=model.validation_chose,
        left_out_chose=model.left_out_chose,
        items=record.summary.history,
    )


def _described(learned: LearnedMatrix) -> LearnedFeatures:
    import torch  # see service.runtime.predictor

    from worker.engine import summary

    spectrum = summary.spectrum(torch.from_numpy(learned.M), DIRECTIONS)
    shares = _shares(learned)
    return LearnedFeatures(
        iteration=learned.iteration,
        features_learned=learned_something(learned),
        importance=importance(learned),
        encoded_importance=_sorted(learned.names, _trace_shares(learned), shares),
        eigenvalues=spectrum.eigenvalues.tolist(),
        effective_rank=summary.effective_rank(spectrum.eigenvalues),
        directions=[
            Direction(
                eigenvalue=float(spectrum.eigenvalues[index]),
                loadings=_loadings(learned.names, spectrum.directions[:, index].numpy()),
            )
            for index in range(spectrum.directions.shape[1])
        ],
    )


def _read_model(context: Context, record: ModelRecord, iteration: int) -> LearnedMatrix:
    summary = record.summary
    matrices, metadata = unpack(context.artifacts.read_bytes(record.matrices))
    stored = matrices.get(f"{iteration:04d}")
    if stored is None:
        numbers = ", ".join(str(int(name)) for name in sorted(matrices))
        raise NotFound(f"model {record.resource.id} has no matrix of iteration {iteration}; it has those of {numbers}")
    variances = metadata.get("variances")
    if variances is None:
        # files of older versions lack them; they are computed from the training rows in the model's file
        key = record.model.key, "variances"
        variances = context.learned.get(key, lambda: _variances(context.artifacts, record.model), attrgetter("nbytes"))
    columns = [column.name for column in summary.features]
    return LearnedMatrix(
        iteration, summary.encoded_names, summary.encoded_sources, columns, _square(stored), np.asarray(variances)
    )


def _variances(artifacts: Artifacts, model: ArtifactRef) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="factrfm-model-") as folder:
        path = artifacts.local_copy(model, Path(folder))
        total, rows = 0.0, 0
        for block in safetensors_io.blocks(path, "X", BLOCK_ROWS):
            total, rows = total + block.sum(axis=0, dtype=np.float64), rows + len(block)
        mean = total / rows
        squares = sum(((block - mean) ** 2).sum(axis=0) for block in safetensors_io.blocks(path, "X", BLOCK_ROWS))
    variances: np.ndarray = squares / rows
    return variances


def _read_job(artifacts: Artifacts, job_id: str, ref: ArtifactRef, iteration: int, columns: list[str]) -> LearnedMatrix:
    matrices, metadata = unpack(artifacts.read_bytes(ref))
    if "names" not in metadata:
        raise Conflict(f"the matrices of job {job_id} were written by an older version, which kept no names")
    [stored] = matrices.values()
    variances = metadata.get("variances")
    return LearnedMatrix(
        iteration,
        metadata["names"],
        metadata["sources"],
        columns,
        _square(stored),
        None if variances is None else np.array(variances),
    )


def _trace_shares(learned: LearnedMatrix) -> np.ndarray:
    return _normalised(learned.M.diagonal().astype(np.float64).clip(min=0))


def _shares(learned: LearnedMatrix) -> np.ndarray | None:
    """Return Mⱼⱼ Var(xⱼ), normalised, like worker.engine.summary.importance, without importing torch."""
    if learned.variances is None:
        return None
    return _normalised(learned.M.diagonal().astype(np.float64).clip(min=0) * learned.variances)


def _normalised(parts: np.ndarray) -> np.ndarray:
    shares: np.ndarray = parts / max(parts.sum(), np.finfo(np.float64).tiny)
    return shares


def _by_column(learned: LearnedMatrix, shares: np.ndarray) -> np.ndarray:
    return np.bincount(learned.owners, weights=shares, minlength=len(learned.columns))


def _square(stored: np.ndarray) -> np.ndarray:
    return np.diag(stored) if stored.ndim == 1 else stored


def _sorted(names: Sequence[str], traces: np.ndarray, shares: np.ndarray | None) -> list[FeatureShare]:
    order = np.argsort(-(traces if shares is None else shares), kind="stable")
    return [
        FeatureShare(
            feature=names[index],
            share=None if shares is None else float(shares[index]),
            trace_share=float(traces[index]),
        )
        for index in order
    ]


def _loadings(names: list[str], direction: np.ndarray) -> list[Loading]:
    leading = np.argsort(-np.abs(direction), kind="stable")[:LOADINGS]
    return [Loading(feature=names[index], weight=float(direction[index])) for index in leading]
