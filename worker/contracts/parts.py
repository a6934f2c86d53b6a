"""Pieces of one job that any worker takes: what each is to do, and what came of it."""

from typing import Annotated, Literal

from pydantic import Field

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.base import Contract
from worker.contracts.events import IterationData, LogData, TrialData
from worker.contracts.resources.jobs import JobError, JobState
from worker.contracts.search import OptionValue
from worker.contracts.specs import FitSpec


class TrialWork(Contract):
    """Try one spec of a search. ``trial`` counts from 1. ``ended``: the file of the trials of earlier rounds."""

    kind: Literal["trial"] = "trial"
    trial: int
    params: dict[str, OptionValue]
    ended: ArtifactRef | None = None


class CandidateWork(Contract):
    """Run one candidate for a short time, to choose between ways to fit.

    ``rows``: the file of its rows. ``candidate``: which it is, from 0; ``spec``: without choice, but for its ridge.
    ``rung`` counts from 0.
    """

    kind: Literal["candidate"] = "candidate"
    rows: ArtifactRef
    candidate: int
    spec: FitSpec
    rung: int
    ridges: list[float]


class FoldWork(Contract):
    """Fit one fold of a cross-validation. ``fold`` counts from 1; ``spec``: without choice, but for its ridge."""

    kind: Literal["fold"] = "fold"
    fold: int
    spec: FitSpec


class RowsWork(Contract):
    """Predict ``rows`` rows of the table from ``first`` on, which counts from 0."""

    kind: Literal["rows"] = "rows"
    first: int
    rows: int


class SolveWork(Contract):
    """Solve rows at the M of a round. ``state``: the file that the round was planned with. ``rows``: those of the part.

    ``number``: of the block or the leaf, from 0.
    """

    state: ArtifactRef
    rows: ArtifactRef
    number: int


class BlockWork(SolveWork):
    """Solve a block of rows and return what it says of the next M."""

    kind: Literal["block"] = "block"


class MachineWork(SolveWork):
    """Fit the rows of a block at the chosen M, to answer with. ``ridge``: as chosen."""

    kind: Literal["machine"] = "machine"
    ridge: float


class LeafWork(SolveWork):
    """Fit the rows of a leaf at the chosen M.

    ``fitted``: what its training rows gave; then its rows that were held out join them, for the chosen ``share`` of the
    blocks and with the ridges that were chosen.
    """

    kind: Literal["leaf"] = "leaf"
    fitted: ArtifactRef | None = None
    share: float = 0.0


PartWork = Annotated[
    TrialWork | CandidateWork | FoldWork | RowsWork | BlockWork | MachineWork | LeafWork, Field(discriminator="kind")
]
PartKind = Literal["candidate", "trial", "block", "machine", "leaf", "fold", "rows"]


class TrialResult(Contract):
    """A trial has ended: complete, pruned or failed."""

    kind: Literal["trial"] = "trial"
    data: TrialData


class CandidateDone(Contract):
    """A short run has ended. ``rows``: so many trained. ``failed``: why it broke down; it has no loss then."""

    kind: Literal["candidate"] = "candidate"
    candidate: int
    rung: int
    rows: int
    loss: tuple[float, ...] = ()
    iteration: int = 0
    ridge: float | None = None
    seconds: float
    failed: str | None = None


class Score(Contract):
    """Result of one iteration of a fold: the validation loss (parts in order of weight) and the chosen ridge.

    ``metrics``: of its training and validation rows; none in checkpoints of before.
    """

    loss: tuple[float, ...]
    ridge: float
    metrics: dict[str, float] = Field(default_factory=dict)


class FoldDone(Contract):
    """A fold is fitted. ``scores``: by iteration. ``events``: what followers of the job are to see, in order."""

    kind: Literal["fold"] = "fold"
    scores: list[Score]
    events: list[IterationData | LogData]


class RowsDone(Contract):
    """Rows are predicted, into an Arrow file. ``unknown``: of each column, how many hold an unknown category."""

    kind: Literal["rows"] = "rows"
    first: int
    rows: int
    file: ArtifactRef
    unknown: dict[str, int]


class Solved(Contract):
    """What a part solved is in ``file``. ``loss``: of validation rows or of its rows left out, in order of weight."""

    file: ArtifactRef
    loss: tuple[float, ...]
    ridge: float
    bandwidth: float | None
    rows: int
    seconds: float


class BlockDone(Solved):
    """The file has the block's FACT or AGOP."""

    kind: Literal["block"] = "block"


class MachineDone(Solved):
    """The file has the kernel machine of a block."""

    kind: Literal["machine"] = "machine"


class LeafDone(Solved):
    """The file has the kernel machines of a leaf. ``refused``: why rows that were held out did not join the others."""

    kind: Literal["leaf"] = "leaf"
    refused: str | None = None


PartResult = Annotated[
    TrialResult | CandidateDone | FoldDone | RowsDone | BlockDone | MachineDone | LeafDone, Field(discriminator="kind")
]


class PartOutcome(Contract):
    """What came of the part with a ``number`` in its round, from 0."""

    number: int
    result: PartResult


class Part(Contract):
    """A piece of a job that any worker takes."""

    number: int = Field(description="In its round, from 0.")
    round: int = Field(description="From 1: the parts of a round run side by side, the next round after all of them.")
    kind: PartKind = Field(
        description="candidate: a short run of one way to fit; trial: one spec of a search; fold: of a "
        "cross-validation; rows: some of those to predict; block, machine, leaf: of a fit by blocks."
    )
    state: JobState
    attempt: int = Field(description="How many times the part has been started.")
    worker: str | None = Field(None, description="Who has it, or had it last.")
    seconds: float | None = Field(None, description="From its first start to its end.")
    error: JobError | None = None
