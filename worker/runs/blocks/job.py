"""A fit of more rows than one kernel matrix holds: rounds of blocks that learn one M, then the leaves of a tree.

The job plans rounds of parts, which any worker takes (``parts``), and adds up what they made in the order of their
numbers, so that the model does not depend on how many workers there are. It reads and encodes the table in batches; a
part reads the rows of its block or leaf alone.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from worker.contracts.artifacts import ArtifactRef, BlocksCheckpoint
from worker.contracts.errors import DoesNotFit, InvalidRequest
from worker.contracts.events import IterationData, LogData
from worker.contracts.messages import (
    AnyReport,
    BlocksOrder,
    FitDone,
    FitOrder,
    IterationReport,
    LogReport,
    ProgressReport,
    RoundPlanned,
)
from worker.contracts.parts import BlockDone, LeafDone, MachineDone, PartResult
from worker.contracts.resources import HeatSummary, PartCounts, Progress
from worker.contracts.specs import Blocks, FitSpec
from worker.engine import summary
from worker.engine.blocks.answers import mean_outputs
from worker.engine.blocks.blend import DEFAULT_BLEND, choose_blend
from worker.engine.blocks.fit import block_rows_of
from worker.engine.blocks.learn import around_ridges, following_metric, mean_loss
from worker.engine.blocks.machines import at_most
from worker.engine.config import FitConfig
from worker.engine.summary import Variances
from worker.engine.updates import first_metric
from worker.runs.blocks.model import stored_model
from worker.runs.blocks.parts import PartRows, RoundState, stored_block, stored_leaf
from worker.runs.blocks.rounds import CHOOSING_SHARE, LEARNING_SHARE, MACHINES_SHARE, part_of, stage_of
from worker.runs.blocks.row_files import Columns, LeafRows, RowFile
from worker.runs.blocks.state import BlocksState
from worker.runs.blocks.streamed_rows import StreamedRows
from worker.runs.checkpoints import Checkpoints, Trail
from worker.runs.choosing import READING_SHARE, Choosing
from worker.runs.fit import FINAL, fit
from worker.store.files.artifacts import Artifacts
from worker.training.cost import MAX_CHOOSING_ROWS, MAX_VALIDATION_ROWS, blending_rows, blocks_job_bytes
from worker.training.machine import Machine
from worker.training.model_selection import Candidates, chosen_options
from worker.training.resolve import MAX_LEAVES, by_blocks


def fit_by_blocks(
    order: BlocksOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> FitDone | RoundPlanned:
    """Plan the next round of parts; after the last one store the model.

    Raises:
        InvalidRequest, DoesNotFit: the rows cannot be learned from, or there is too little memory.
        EngineError: the numerics failed.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    return _FitByBlocks(order, artifacts, machine, report).run()


def fit_within_memory(
    order: FitOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> FitDone | RoundPlanned:
    """Fit on one machine, or by blocks where that takes too much memory and the spec leaves the solver open.

    Raises:
        As ``fit`` and ``fit_by_blocks``.
    """
    try:
        return fit(order, artifacts, machine, report)
    except DoesNotFit as error:
        rows, blocks = order.table.most_rows_with(order.request.targets), order.request.spec.blocks or Blocks()
        # one block would be the whole again
        taken = by_blocks(order.request, rows, most=blocks.rows) is not order.request
        if not taken or blocks.leaves(rows) > MAX_LEAVES:
            raise
        report(LogReport(data=LogData(message=f"going on by blocks of rows: {error.detail}")))
        return fit_by_blocks(
            BlocksOrder(**order.model_dump(exclude={"kind", "checkpoint", "part_seconds"})), artifacts, machine, report
        )


JUDGES = {"validation": "error on validation rows", "leave_one_out": "error of rows left out"}


class _FitByBlocks:
    def __init__(
        self,
        order: BlocksOrder,
        artifacts: Artifacts,
        machine: Machine,
        report: Callable[[AnyReport], None],
    ) -> None:
        checkpoint = order.checkpoint if isinstance(order.checkpoint, BlocksCheckpoint) else None
        self._order = order
        self._artifacts = artifacts
        self._machine = machine
        self._report = report
        self._original_request = order.request.model_dump()
        self._blocks = order.request.spec.blocks or Blocks()
        # rounds of a beginning that was given up keep their numbers, and their parts
        self._round = order.round + 1 if checkpoint is None else checkpoint.round
        self._files: list[ArtifactRef] = [] if checkpoint is None else list(checkpoint.rows)
        self._trail = Trail(matrices=[] if checkpoint is None else list(checkpoint.matrices))
        self._checkpoints = Checkpoints(artifacts, order.prefix)
        self._pending: IterationData | None = None

    def run(self) -> FitDone | RoundPlanned:
        """Return the next round, or where the model is."""
        checkpoint = self._order.checkpoint
        if not isinstance(checkpoint, BlocksCheckpoint):
            return self._choose()
        state = BlocksState.of(self._artifacts.read_bytes(checkpoint.state))
        self._trail.history = state.history
        # what parts of an earlier round made is in the state already
        outcomes = self._order.outcomes if self._order.round == self._round else []
        made = [outcome.result for outcome in outcomes]
        if len(made) < len(self._files):
            return self._plan(state, checkpoint)
        self._round += 1
        if state.tree is not None:
            return self._blended(state, [result for result in made if isinstance(result, LeafDone)])
        if state.machines is not None:
            state.machines = [result.file for result in made if isinstance(result, MachineDone)]
            return self._plan_leaves(state)
        if not self._learned(state, made):
            return self._plan(state)
        state.machines = []
        # one block would only repeat what its leaf says
        return self._plan(state) if len(self._files) > 1 else self._plan_leaves(state)

    def _choose(self) -> RoundPlanned:
        """Plan the next round of short runs, or the first round of blocks when the options are chosen."""
        spec, choosing = self._order.request.spec, Choosing(self._order, self._artifacts)
        if choosing.begun and (planned := choosing.planned(CHOOSING_SHARE, Progress())) is not None:
            return planned
        reading = Progress(stage="reading the rows", fraction=CHOOSING_SHARE if choosing.begun else 0.0)
        following = CHOOSING_SHARE if choosing.begun else READING_SHARE * CHOOSING_SHARE
        self._report(ProgressReport(progress=reading, next_fraction=following))
        with self._reading() as (rows, folder):
            if not choosing.begun:
                candidates = Candidates.of(spec, lambda each: rows.sample(each, MAX_CHOOSING_ROWS, MAX_VALIDATION_ROWS))
                choosing.begin(candidates, self._machine)
                if (planned := choosing.planned(CHOOSING_SHARE, Progress())) is not None:
                    return planned
            elif (encoder := choosing.encoder()) is not None:
                rows.use(choosing.spec, encoder)
            self._round, runs = choosing.round, choosing.summaries
            chosen = choosing.spec.model_copy(update={"ridge": spec.ridge, "solver": "blocks", "blocks": self._blocks})
            if runs:
                message = f"{chosen_options(chosen)} did best in {len(runs)} short runs"
                self._report(LogReport(data=LogData(message=message)))
            return self._begin(rows, folder, chosen, runs)

    def _begin(self, rows: StreamedRows, folder: Path, spec: FitSpec, runs: list[HeatSummary]) -> RoundPlanned:
        """Store the rows of the blocks and those that choose, and plan the first round of blocks."""
        encoder = rows.encoder(spec)
        n, d = len(rows.training), len(encoder.names)
        if self._machine.device.type == "cpu":
            self._machine.check_fits(blocks_job_bytes(rows.count, d, rows.outputs))
        drawn = block_rows_of(n, self._blocks.rows, self._blocks.learn, spec.seed)
        own = rows.blocks(drawn)
        columns = Columns(d, rows.outputs)
        files = [RowFile(folder / f"block-{number}", columns.width) for number in range(len(drawn))]
        variances = Variances()
        for where, X, held_out in rows.encoded(encoder):
            variances.add(X[~held_out])
            packed = columns.packed(X, rows.raw(where), rows.numbers(where), own[where], held_out)
            for number in sorted(set(own[where].tolist())):
                if number >= 0:
                    files[number].append(packed[own[where] == number].numpy())
        shown = {
            "names": list(encoder.names),
            "sources": list(encoder.sources),
            "variances": summary.checked(variances.result()).tolist(),
        }
        config = FitConfig(**spec.engine_options())
        size = n, 0 if rows.held_out is None else len(rows.held_out)
        state = BlocksState(
            spec, runs, encoder, rows.classes, size, rows.targets, shown, config.ridges, [first_metric(d, config)]
        )
        state.dropped = rows.dropped
        validation = rows.validation(spec, blending_rows(d))
        if validation is not None:
            X, Y = validation
            judging = at_most(torch.arange(len(X)), MAX_VALIDATION_ROWS, spec.seed)
            state.blending = self._put("blending", PartRows(X, Y).packed())
            state.validation = self._put("validation", PartRows(X[judging], Y[judging]).packed())
        for number, file in enumerate(files):
            stored = file.read()
            file.delete()
            part = PartRows(columns.X(stored), rows.targets_of(columns.Y(stored)), columns.numbers(stored))
            self._files.append(self._put(f"rows-{number:04d}", part.packed()))
        return self._plan(state)

    @contextmanager
    def _reading(self) -> Iterator[tuple[StreamedRows, Path]]:
        """Give the rows of the order, and a folder for files that are needed meanwhile."""
        with tempfile.TemporaryDirectory(prefix="factrfm-fit-") as folder:
            yield StreamedRows(self._order, self._artifacts, Path(folder)), Path(folder)

    def _learned(self, state: BlocksState, made: list[PartResult]) -> bool:
        """Take what the blocks of a round say. Return whether M is learned."""
        results = [stored_block(done, self._artifacts) for done in made if isinstance(done, BlockDone)]
        seconds = sum(done.seconds for done in made if isinstance(done, BlockDone))
        iteration, M = len(state.losses), state.matrices[-1]
        state.losses.append(mean_loss(results))
        config = state.config
        following = following_metric(results, M, config, iteration, iteration - state.best)
        ridges = sorted(result.ridge for result in results)
        state.chosen.append([result.ridge for result in results])
        stored = self._checkpoints.save_matrix(FINAL, iteration, M, self._trail, state.columns)
        self._pending = state.record(ridges[(len(ridges) - 1) // 2], results[0].bandwidth, seconds, stored=stored)
        if following is None:
            return True
        state.matrices.append(following)
        state.ridges = around_ridges(ridges, config).ridges
        return False

    def _plan(self, state: BlocksState, again: BlocksCheckpoint | None = None) -> RoundPlanned:
        """Return the round whose rows are in the files: blocks while M is learned, their machines, then leaves.

        ``again``: of a round that was planned before, whose files parts may still be reading.
        """
        learning = state.machines is None
        M = state.matrices[-1] if learning else state.matrices[state.best]
        config = replace(state.config, ridges=state.ridges) if learning else state.config
        if state.tree is not None:
            config = around_ridges(state.chosen[state.best], config)
        machines = tuple(state.machines or ())
        common = RoundState(M, state.targets, config, machines, state.validation)
        shared = self._put("round", common.packed(state.spec)) if again is None else again.shared
        parts = [part_of(state, shared, rows, number) for number, rows in enumerate(self._files)]
        iteration = len(state.losses)
        stage, begin, end = stage_of(state)
        progress = Progress(
            iteration=iteration - 1 if iteration else None,
            iterations=state.spec.iterations,
            fraction=begin,
            stage=stage,
            parts=PartCounts(done=0, running=0, total=len(parts), fraction_after=end),
        )
        checkpoint = BlocksCheckpoint(
            round=self._round,
            state=self._put("state", state.packed()) if again is None else again.state,
            shared=shared,
            validation=state.validation,
            blending=state.blending,
            rows=list(self._files),
            machines=list(machines),
            leaves=[leaf.file for leaf in state.leaves],
            matrices=list(self._trail.matrices),
        )
        if self._pending is not None:
            shown = {"progress": progress.model_copy(update={"parts": None}), "next_fraction": progress.fraction}
            self._report(IterationReport(**shown, data=self._pending, checkpoint=checkpoint))
        metrics = state.history[-1].metrics if state.history else {}
        return RoundPlanned(round=self._round, parts=parts, progress=progress, metrics=metrics, checkpoint=checkpoint)

    def _plan_leaves(self, state: BlocksState) -> RoundPlanned:
        """Grow the tree at the best M, store the rows of its leaves, and plan the round that fits them."""
        progress = Progress(
            stage="cutting the rows into leaves", fraction=MACHINES_SHARE if state.machines else LEARNING_SHARE
        )
        self._report(ProgressReport(progress=progress, next_fraction=MACHINES_SHARE))
        most, seed = self._blocks.leaf, state.spec.seed
        files: dict[int, ArtifactRef] = {}
        with self._reading() as (rows, folder):
            own = rows.blocks(block_rows_of(state.rows[0], self._blocks.rows, self._blocks.learn, seed))
            columns = Columns(len(state.encoder.names), rows.outputs)
            every = RowFile(folder / "rows", columns.width)
            for where, X, held_out in rows.encoded(state.encoder):
                packed = columns.packed(X, rows.raw(where), rows.numbers(where), own[where], held_out)
                # a row that is held out and beyond all numbers joins no leaf
                joins = ~held_out | (torch.isfinite(X).all(1) if state.refits else False)
                every.append(packed[joins].numpy())
            leaves = LeafRows(columns, state.matrices[state.best], most, self._blocks.overlap, seed)
            for number, found in leaves.leaves(every, folder):
                if leaves.tree.leaves > 2 * MAX_LEAVES:
                    raise InvalidRequest.at(
                        "/spec/blocks/leaf", f"the rows would need more than {2 * MAX_LEAVES} leaves: take larger ones"
                    )
                training = int((~columns.held_out(found)).sum())
                Y, numbers = rows.targets_of(columns.Y(found)), columns.numbers(found)
                part = PartRows(columns.X(found), Y, numbers, columns.own(found), training)
                files[number] = self._put(f"leaf-rows-{number:04d}", part.packed())
        self._files = [files[number] for number in range(len(files))]
        state.tree = leaves.tree
        message = f"iteration {state.best} is the best by its {JUDGES[state.judges]}; {len(files)} leaves at its M"
        self._report(LogReport(data=LogData(message=message)))
        return self._plan(state)

    def _blended(self, state: BlocksState, made: list[LeafDone]) -> FitDone | RoundPlanned:
        """Choose the blend of fitted leaves and blocks, fit the leaves once more where rows join them, and store."""
        if state.blend is None:
            state.leaves = made
            state.metrics = dict(state.history[state.best].metrics)
            state.blend = DEFAULT_BLEND
            if state.blending is not None:
                self._choose_blend(state, state.blending)
            if state.refits:
                return self._plan(state)
        for done in made:
            if done.refused is not None:
                message = f"the rows held out did not join a leaf: {done.refused}"
                self._report(LogReport(data=LogData(level="warning", message=message)))
        return stored_model(
            self._order, self._original_request, state, made, self._artifacts, self._checkpoints, self._trail
        )

    def _choose_blend(self, state: BlocksState, held_out: ArtifactRef) -> None:
        assert state.tree is not None  # noqa: S101 - there are leaves
        judging = PartRows.of(held_out, self._artifacts)
        X, Y = judging.X, judging.Y
        blocks = (stored_leaf(ref, self._artifacts).leaf.alone.model.raw for ref in state.machines or ())
        base = mean_outputs(blocks, X) if state.machines else None
        leaves = (stored_leaf(done.file, self._artifacts).leaf for done in state.leaves)
        state.blend, outputs, _ = choose_blend(state.tree, leaves, base, X, Y, state.targets)
        state.metrics |= {f"validation_{name}": value for name, value in state.targets.metrics(outputs, Y).items()}

    def _put(self, name: str, content: bytes) -> ArtifactRef:
        key = f"jobs/{self._order.prefix}/{self._round:04d}-{name}.safetensors"
        return self._artifacts.put_bytes(key, content)
