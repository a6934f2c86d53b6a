"""References to files in storage: tables, results and checkpoints."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from worker.contracts.base import Contract
from worker.contracts.resources import Column, HeatSummary
from worker.contracts.specs import FitSpec


class ArtifactRef(Contract):
    """A file in storage: its key, checksum and length in bytes."""

    key: str
    sha256: str
    bytes: int


class TableRef(Contract):
    """A dataset's typed table in storage."""

    dataset: str
    table: ArtifactRef
    rows: int
    columns: list[Column]

    def most_rows_with(self, targets: Iterable[str]) -> int:
        """Return how many rows have every target, at most: which rows lack one of several is not known."""
        names = set(targets)
        return self.rows - max(column.missing for column in self.columns if column.name in names)


class ResultFile(Contract):
    """A file to download: a job makes it beside a model, or instead of one."""

    result: ArtifactRef
    media_type: str


class Checkpoint(Contract):
    """A fit resumes after ``iteration`` (in a cross-validation: of ``fold``, which counts from 1)."""

    kind: Literal["fit"] = "fit"
    iteration: int
    fold: int | None = None
    newest: ArtifactRef
    best: ArtifactRef
    matrices: list[ArtifactRef] = Field(description="M of every iteration so far, in order.")
    centred: bool = Field(False, description="Class targets are centred, and scores are of probabilities.")

    @property
    def keys(self) -> set[str]:
        """Keys of the files that the checkpoint needs."""
        return {self.newest.key, self.best.key, *(matrix.key for matrix in self.matrices)}


class FoldsCheckpoint(Contract):
    """A cross-validation goes on when the folds, which are the parts of ``round``, have ended.

    ``spec``: what the options left open became, by ``runs``; ``solver``: why it is the one of the spec.
    """

    kind: Literal["folds"] = "folds"
    round: int
    spec: FitSpec
    runs: list[HeatSummary]
    solver: str | None

    @property
    def keys(self) -> set[str]:
        """Keys of the files that the checkpoint needs."""
        return set()


class TuneCheckpoint(Contract):
    """A search resumes from the file of its finished trials, then from the fit of the best trial."""

    kind: Literal["tune"] = "tune"
    trials: ArtifactRef
    winner: Checkpoint | None = None
    centred: bool = Field(False, description="As of a fit: losses of trials compare with those of this version.")

    @property
    def keys(self) -> set[str]:
        """Keys of the files that the checkpoint needs."""
        return {self.trials.key} | (set() if self.winner is None else self.winner.keys)


class NetworkCheckpoint(Contract):
    """The training of a network resumes from its weights after ``step`` and the reports so far."""

    kind: Literal["network"] = "network"
    step: int
    state: ArtifactRef

    @property
    def keys(self) -> set[str]:
        """Keys of the files that the checkpoint needs."""
        return {self.state.key}


class BlocksCheckpoint(Contract):
    """Where a fit by blocks may go on: when the parts of ``round`` have ended.

    ``rows``: a file for each of them; ``shared``: what they all read; ``state``: what the job knows; ``validation`` and
    ``blending``: rows that choose M and the blend; ``machines``: those of the blocks, once they are fitted; ``leaves``:
    what leaves gave that are fitted once more.
    """

    kind: Literal["blocks"] = "blocks"
    round: int
    state: ArtifactRef
    shared: ArtifactRef
    validation: ArtifactRef | None
    blending: ArtifactRef | None = None
    rows: list[ArtifactRef]
    machines: list[ArtifactRef]
    leaves: list[ArtifactRef] = Field(default_factory=list)
    matrices: list[ArtifactRef] = Field(description="M of every iteration so far, in order.")

    @property
    def keys(self) -> set[str]:
        """The keys of its files."""
        judging = [ref for ref in (self.validation, self.blending) if ref is not None]
        files = (self.state, self.shared, *judging, *self.rows, *self.machines, *self.leaves, *self.matrices)
        return {ref.key for ref in files}


class ChoosingCheckpoint(Contract):
    """Options that a spec leaves open are chosen, and the job goes on when the short runs of ``round`` have ended.

    ``rows``: the files of the rows that they read, one of each encoding; ``state``: what the job knows.
    """

    kind: Literal["choosing"] = "choosing"
    round: int
    state: ArtifactRef
    rows: list[ArtifactRef]

    @property
    def keys(self) -> set[str]:
        """Keys of the files that the checkpoint needs."""
        return {ref.key for ref in (self.state, *self.rows)}


AnyCheckpoint = Annotated[
    Checkpoint | TuneCheckpoint | NetworkCheckpoint | BlocksCheckpoint | FoldsCheckpoint | ChoosingCheckpoint,
    Field(union_mode="left_to_right"),
]
"""Closed models with different fields; rows of older versions have no ``kind``."""
