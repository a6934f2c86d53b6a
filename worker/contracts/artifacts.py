"""Files in storage and what they are for: tables, results, and where a run may go on."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from worker.contracts.base import Contract
from worker.contracts.resources import Column, ModelColumn


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

    def model_columns(self, names: Iterable[str]) -> list[ModelColumn]:
        """Return columns as a model that learns of them has them."""
        known = {column.name: column for column in self.columns}
        return [
            ModelColumn(name=name, type=known[name].type, missing_words=known[name].missing_words) for name in names
        ]


class ResultFile(Contract):
    """A file to download: what a job made beside a model, or instead of one."""

    result: ArtifactRef
    media_type: str


class Checkpoint(Contract):
    """Where a fit may go on: after ``iteration`` (of ``fold``, counting from 1, in a cross-validation)."""

    kind: Literal["fit"] = "fit"
    iteration: int
    fold: int | None = None
    newest: ArtifactRef
    best: ArtifactRef
    matrices: list[ArtifactRef] = Field(description="M of every iteration so far, in order.")
    centred: bool = Field(False, description="Class targets are centred, and scores are of probabilities.")

    @property
    def keys(self) -> set[str]:
        """The files that it needs."""
        return {self.newest.key, self.best.key, *(matrix.key for matrix in self.matrices)}


class TuneCheckpoint(Contract):
    """Where a search may go on: the trials that ended, in one file, then the fit of the best of them."""

    kind: Literal["tune"] = "tune"
    trials: ArtifactRef
    winner: Checkpoint | None = None
    centred: bool = Field(False, description="As of a fit: losses of trials compare with those of this version.")

    @property
    def keys(self) -> set[str]:
        """The files that it needs."""
        return {self.trials.key} | (set() if self.winner is None else self.winner.keys)


class NetworkCheckpoint(Contract):
    """Where the training of a network may go on: its weights after ``step``, with the reports so far."""

    kind: Literal["network"] = "network"
    step: int
    state: ArtifactRef

    @property
    def keys(self) -> set[str]:
        """The files that it needs."""
        return {self.state.key}


AnyCheckpoint = Annotated[Checkpoint | TuneCheckpoint | NetworkCheckpoint, Field(union_mode="left_to_right")]
"""Closed models of different fields; rows of older versions do not say their kind."""
