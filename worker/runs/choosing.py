"""The choice between the ways to fit that a spec leaves open, as rounds of short runs that several workers share."""

import math
from contextlib import suppress

from worker.contracts.artifacts import ArtifactRef, ChoosingCheckpoint
from worker.contracts.base import Contract
from worker.contracts.messages import BlocksOrder, CandidateOrder, Order, RoundPlanned, TuneOrder
from worker.contracts.parts import CandidateDone, CandidateWork
from worker.contracts.resources import HeatSummary, PartCounts, Progress
from worker.contracts.specs import FitSpec
from worker.engine.choice import CandidateRun, next_rung, number_of_runs
from worker.engine.errors import EngineError
from worker.runs.parts.candidate import CandidateRows, candidate
from worker.store.files.artifacts import Artifacts
from worker.tables.encoding.encoder import Encoder
from worker.training.machine import Machine
from worker.training.model_selection import Candidates, candidate_of, chosen_spec, float64_if_few, run_summaries

FEW_ROWS = 1000
"""So few training rows are chosen with by the job itself: the runs take less time than a round of parts."""
READING_SHARE = 0.2
"""How far the choice is when the rows are read."""


class ChoosingState(Contract):
    """What the job knows between two rungs.

    ``specs``: the candidates; ``rows``: the file of rows of every encoding, none where nothing is open; ``runs``: those
    of the rungs that have ended; ``training_rows``: so many there are.
    """

    specs: list[FitSpec]
    rows: dict[str, ArtifactRef]
    runs: list[CandidateDone]
    training_rows: int


class Choosing:
    """The choice of an order, from its checkpoint on. ``round``: the number of the next round."""

    def __init__(self, order: BlocksOrder | TuneOrder, artifacts: Artifacts) -> None:
        self._order = order
        self._artifacts = artifacts
        self.round = order.round + 1
        self._state: ChoosingState | None = None
        checkpoint = order.checkpoint
        if isinstance(checkpoint, ChoosingCheckpoint):
            self.round = checkpoint.round
            self._state = ChoosingState.model_validate_json(artifacts.read_bytes(checkpoint.state))

    @property
    def begun(self) -> bool:
        """Whether the candidates are known."""
        return self._state is not None

    def begin(self, candidates: Candidates, machine: Machine) -> None:
        """Store the rows that short runs take, if there is something to choose. With few rows, carry out the runs."""
        n = len(candidates.first.Y)
        self._state = ChoosingState(specs=candidates.specs, rows={}, runs=[], training_rows=n)
        if candidates.open:
            seed = self._order.request.spec.seed
            for encoding, rows in candidates.rows.items():
                content = CandidateRows.drawn(rows, seed).packed()
                self._state.rows[encoding] = self._put(f"candidates-{encoding}.safetensors", content)
        if n <= FEW_ROWS:
            # that every candidate failed is said when the next round is asked for
            with suppress(EngineError):
                while works := self._works():
                    self._state.runs.extend(self._run(work, machine) for work in works)

    def planned(self, share: float, shown: Progress) -> RoundPlanned | None:
        """Return the next round of short runs, None after the last one.

        ``share``: how far the job is when all have ended; ``shown``: what else its progress tells.

        Raises:
            EngineError: every candidate failed.
        """
        state, works = self._known, self._works()
        outcomes = self._order.outcomes if self._order.round == self.round else []
        made = {outcome.number: outcome.result for outcome in outcomes}
        ended = [result for number in range(len(works)) if isinstance(result := made.get(number), CandidateDone)]
        if works and len(ended) == len(works):
            state.runs.extend(ended)
            self.round += 1
            works = self._works()
        if not works:
            return None
        done, total = len(state.runs), number_of_runs(len(state.specs))
        begun, ended_at = (
            share * (READING_SHARE + (1 - READING_SHARE) * runs / total) for runs in (done, done + len(works))
        )
        changes = {
            "fraction": begun,
            "stage": "choosing between ways to fit",
            "parts": PartCounts(done=0, running=0, total=len(works), fraction_after=ended_at),
        }
        progress = shown.model_copy(update=changes)
        return RoundPlanned(round=self.round, parts=works, progress=progress, checkpoint=self.stored())

    def stored(self) -> ChoosingCheckpoint:
        """Store what is known, and return where."""
        state = self._put(f"{self.round:04d}-choosing.json", self._known.model_dump_json().encode())
        return ChoosingCheckpoint(round=self.round, state=state, rows=list(self._known.rows.values()))

    @property
    def spec(self) -> FitSpec:
        """The spec that was chosen, when all runs have ended."""
        state = self._known
        if not state.rows:
            return float64_if_few(state.specs[0], state.training_rows)
        return chosen_spec(state.specs, self._runs, state.training_rows)

    @property
    def summaries(self) -> list[HeatSummary]:
        """The runs that have ended."""
        return run_summaries(self._runs)

    def encoder(self) -> Encoder | None:
        """Return the encoder of the chosen spec, where short runs needed it."""
        ref = self._known.rows.get(self.spec.encoding)
        return None if ref is None else CandidateRows.of(ref, self._artifacts).encoder

    @property
    def _known(self) -> ChoosingState:
        assert self._state is not None  # noqa: S101 - it has begun
        return self._state

    @property
    def _runs(self) -> list[CandidateRun]:
        specs = self._known.specs
        return [
            CandidateRun(
                candidate_of(specs[run.candidate]),
                run.rung,
                run.rows,
                run.loss or (math.inf,),
                run.iteration,
                math.nan if run.ridge is None else run.ridge,
                run.seconds,
                run.failed,
            )
            for run in self._known.runs
        ]

    def _works(self) -> list[CandidateWork]:
        state = self._known
        if not state.rows:
            return []
        candidates = [candidate_of(spec) for spec in state.specs]
        works = []
        for run in next_rung(candidates, self._runs):
            number = candidates.index(run.candidate)
            spec = state.specs[number]
            rows = state.rows[spec.encoding]
            works.append(CandidateWork(rows=rows, candidate=number, spec=spec, rung=run.rung, ridges=list(run.ridges)))
        return works

    def _run(self, work: CandidateWork, machine: Machine) -> CandidateDone:
        about = self._order.model_dump(include=set(Order.model_fields))
        done = candidate(CandidateOrder(**about, work=work), self._artifacts, machine).result
        assert isinstance(done, CandidateDone)  # noqa: S101 - as the function says
        return done

    def _put(self, name: str, content: bytes) -> ArtifactRef:
        return self._artifacts.put_bytes(f"jobs/{self._order.prefix}/{name}", content)
