"""Pieces of one job that any worker takes: what each is to do, and what came of it."""

from typing import Literal

from pydantic import Field

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.base import Contract
from worker.contracts.events import TrialData
from worker.contracts.resources.jobs import JobError, JobState
from worker.contracts.search import OptionValue


class TrialWork(Contract):
    """Try one spec of a search. ``trial`` counts from 1. ``ended``: the file of the trials of earlier rounds."""

    kind: Literal["trial"] = "trial"
    trial: int
    params: dict[str, OptionValue]
    ended: ArtifactRef | None = None


PartWork = TrialWork
PartKind = Literal["trial"]


class TrialResult(Contract):
    """A trial has ended: complete, pruned or failed."""

    kind: Literal["trial"] = "trial"
    data: TrialData


PartResult = TrialResult


class PartOutcome(Contract):
    """What came of the part with a ``number`` in its round, from 0."""

    number: int
    result: PartResult


class Part(Contract):
    """A piece of a job that any worker takes."""

    number: int = Field(description="In its round, from 0.")
    round: int = Field(description="From 1: the parts of a round run side by side, the next round after all of them.")
    kind: PartKind
    state: JobState
    attempt: int = Field(description="How many times the part has been started.")
    worker: str | None = Field(None, description="Who has it, or had it last.")
    seconds: float | None = Field(None, description="From its first start to its end.")
    error: JobError | None = None
