"""A fit of more rows than one kernel matrix holds: rounds of blocks that learn one M, then the leaves of a tree.

The job plans rounds of parts, which any worker takes (``block_parts``), and adds up what they made in the order of
their numbers, so that the model does not depend on how many workers there are. This process reads and encodes the table
whole; a part reads the rows of its block or leaf alone.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from worker.contracts.artifacts import ArtifactRef, BlocksCheckpoint
from worker.contracts.errors import InvalidRequest
from worker.contracts.events import IterationData, LogData
from worker.contracts.messages import (
    AnyReport,
    BlocksOrder,
    FitDone,
    FittedModelSummary,
    IterationReport,
    LogReport,
    ProgressReport,
    RoundPlanned,
)
from worker.contracts.parts import (
    BlockDone,
    BlockWork,
    LeafDone,
    LeafWork,
    MachineDone,
    MachineWork,
    PartResult,
    PartWork,
)
from worker.contracts.resources import HeatSummary, PartCounts, Progress
from worker.contracts.specs import AUTO_CANDIDATES, Blocks, FitSpec
from worker.contracts.validation import left_out_chose, validation_chose
from worker.engine import summary
from worker.engine.blocks.blend import DEFAULT_BLEND, choose_blend
from worker.engine.blocks.fit import block_rows_of
from worker.engine.blocks.learn import around_ridges, mean_loss, next_metric
from worker.engine.blocks.machines import at_most
from worker.engine.blocks.model import BlocksModel
from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import assign
from worker.engine.config import FitConfig
from worker.engine.errors import NonFiniteValues
from worker.engine.problem import Iterate
from worker.runs.block_parts import RoundState, pack_rows, stored_block, stored_leaf
from worker.runs.blocks_state import BlocksState
from worker.runs.checkpoints import Checkpoints, Trail
from worker.runs.data import load_rows
from worker.runs.fit import FINAL
from worker.serving.model import ServedModel
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack
from worker.training.machine import Machine, versions
from worker.training.model_selection import choose, run_summaries
from worker.training.resolve import MAX_LEAVES
from worker.training.rows import TrainingRows

CHOOSING_SHARE, LEARNING_SHARE, MACHINES_SHARE, LEAVES_SHARE = 0.1, 0.5, 0.6, 0.95
"""How far the job is when options are chosen, M is learned, and the machines of blocks and leaves are fitted."""


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


JUDGES = {"validation": "error on validation rows", "leave_one_out": "error of rows left out"}
MAX_VALIDATION_ROWS = 8000
"""So many choose the iteration and the ridge of every block."""


class _FitByBlocks:
    def __init__(
        self,
        order: BlocksOrder,
        artifacts: Artifacts,
        machine: Machine,
        report: Callable[[AnyReport], None],
    ) -> None:
        checkpoint = order.checkpoint
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
        if checkpoint is None:
            return self._begin()
        state = BlocksState.of(self._artifacts.read_bytes(checkpoint.state))
        self._trail.history = state.history
        # what parts of an earlier round made is in the state already
        outcomes = self._order.outcomes if self._order.round == self._round else []
        made = [outcome.result for outcome in outcomes]
        if len(made) < len(self._files):
            return self._plan(state, checkpoint)
        self._round += 1
        if state.tree is not None:
            return self._store(state, [result for result in made if isinstance(result, LeafDone)])
        if state.machines is not None:
            state.machines = [result.file for result in made if isinstance(result, MachineDone)]
            return self._plan_leaves(state)
        if not self._learned(state, made):
            return self._plan(state)
        state.machines = []
        # one block would only repeat what its leaf says
        return self._plan(state) if len(self._files) > 1 else self._plan_leaves(state)

    def _begin(self) -> RoundPlanned:
        """Choose the options, store the rows of the blocks, and plan the first round."""
        spec, rows, runs = self._choose()
        d = rows.X.shape[1]
        M = torch.ones(d, dtype=torch.float64)
        columns: dict[str, list[Any]] = {
            "names": list(rows.encoder.names),
            "sources": list(rows.encoder.sources),
            "variances": summary.variances(rows.X).tolist(),
        }
        if not all(map(math.isfinite, columns["variances"])):
            raise NonFiniteValues("columns vary beyond all numbers: give them in a larger unit, or standardize them")
        first = M if spec.feature_matrix == "diagonal" else torch.diag(M)
        state = BlocksState(spec, runs, rows.targets, columns, FitConfig(**spec.engine_options()).ridges, [first])
        if rows.validation is not None:
            X, Y = rows.validation
            judging = at_most(torch.arange(len(X)), MAX_VALIDATION_ROWS, spec.seed)
            state.validation = self._put("validation", pack_rows(X[judging], Y[judging]))
        blocks = enumerate(self._drawn(rows, spec))
        self._files = [self._put_rows(f"rows-{number:04d}", rows, drawn) for number, drawn in blocks]
        return self._plan(state)

    def _drawn(self, rows: TrainingRows, spec: FitSpec) -> list[Tensor]:
        return block_rows_of(len(rows.X), self._blocks.rows, self._blocks.learn, spec.seed)

    def _choose(self) -> tuple[FitSpec, TrainingRows, list[HeatSummary]]:
        spec = self._order.request.spec

        def stage(stage: str, fraction: float) -> None:
            self._report(
                ProgressReport(progress=Progress(stage=stage, fraction=fraction), next_fraction=CHOOSING_SHARE)
            )

        def load(candidate: FitSpec) -> TrainingRows:
            stage("reading the rows", 0.0)
            return load_rows(_with_spec(self._order, candidate), self._artifacts, fold=None)

        choice = choose(
            spec,
            load,
            device=self._machine.device,
            ended=lambda _, number, runs: stage(
                f"choosing between ways to fit ({number} of {runs})", CHOOSING_SHARE * min(number / runs, 1.0)
            ),
        )
        chosen = choice.spec.model_copy(update={"ridge": spec.ridge, "solver": "blocks", "blocks": self._blocks})
        if choice.runs:
            options = chosen.model_dump(include=set(AUTO_CANDIDATES), exclude_none=True)
            decided = ", ".join(f"{name} {options[name]}" for name in AUTO_CANDIDATES if name in options)
            self._report(LogReport(data=LogData(message=f"{decided} did best in {len(choice.runs)} short runs")))
        return chosen, choice.rows, run_summaries(choice.runs)

    def _learned(self, state: BlocksState, made: list[PartResult]) -> bool:
        """Take what the blocks of a round say. Return whether M is learned."""
        results = [stored_block(done, self._artifacts) for done in made if isinstance(done, BlockDone)]
        seconds = sum(done.seconds for done in made if isinstance(done, BlockDone))
        iteration, M = len(state.losses), state.matrices[-1]
        state.losses.append(mean_loss(results))
        config = FitConfig(**state.spec.engine_options())
        following = None
        since_best = iteration - state.best
        if iteration < config.iterations and config.update != "none":
            patient = config.patience is None or since_best < config.patience
            following = next_metric(results, M, config) if patient else None
        ridges = sorted(result.ridge for result in results)
        state.chosen.append([result.ridge for result in results])
        stored = self._checkpoints.save_matrix(FINAL, iteration, M, self._trail, state.columns)
        self._pending = state.record(ridges[(len(ridges) - 1) // 2], results[0].bandwidth, seconds, stored=stored)
        if following is None:
            return True
        state.matrices.append(following)
        state.ridges = around_ridges(results, config).ridges
        return False

    def _plan(self, state: BlocksState, again: BlocksCheckpoint | None = None) -> RoundPlanned:
        """Return the round whose rows are in the files: blocks while M is learned, their machines, then leaves.

        ``again``: of a round that was planned before, whose files parts may still be reading.
        """
        learning = state.machines is None
        M = state.matrices[-1] if learning else state.matrices[state.best]
        ridges = state.ridges if learning else FitConfig(**state.spec.engine_options()).ridges
        config = FitConfig(**{**state.spec.engine_options(), "ridges": ridges})
        machines = tuple(state.machines or ())
        common = RoundState(M, state.targets, config, machines, state.validation)
        shared = self._put("round", common.packed(state.spec)) if again is None else again.shared
        parts = [self._work(state, shared, rows, number) for number, rows in enumerate(self._files)]
        iteration = len(state.losses)
        each = (LEARNING_SHARE - CHOOSING_SHARE) / (state.spec.iterations + 1)
        begin, end = (CHOOSING_SHARE + each * done for done in (iteration, iteration + 1))
        stage = "learning the feature matrix"
        if state.tree is not None:
            stage, begin, end = "fitting the leaves", MACHINES_SHARE, LEAVES_SHARE
        elif not learning:
            stage, begin, end = "fitting the blocks", LEARNING_SHARE, MACHINES_SHARE
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
            rows=list(self._files),
            machines=list(machines),
            matrices=list(self._trail.matrices),
        )
        if self._pending is not None:
            shown = {"progress": progress.model_copy(update={"parts": None}), "next_fraction": progress.fraction}
            self._report(IterationReport(**shown, data=self._pending, checkpoint=checkpoint))
        metrics = state.history[-1].metrics if state.history else {}
        return RoundPlanned(round=self._round, parts=parts, progress=progress, metrics=metrics, checkpoint=checkpoint)

    @staticmethod
    def _work(state: BlocksState, shared: ArtifactRef, rows: ArtifactRef, number: int) -> PartWork:
        if state.tree is not None:
            return LeafWork(state=shared, rows=rows, number=number)
        if state.machines is not None:
            ridge = state.chosen[state.best][number]
            return MachineWork(state=shared, rows=rows, number=number, ridge=ridge)
        return BlockWork(state=shared, rows=rows, number=number)

    def _plan_leaves(self, state: BlocksState) -> RoundPlanned:
        """Grow the tree at the best M, store the rows of its leaves, and plan the round that fits them."""
        progress = Progress(
            stage="cutting the rows into leaves", fraction=MACHINES_SHARE if state.machines else LEARNING_SHARE
        )
        self._report(ProgressReport(progress=progress, next_fraction=MACHINES_SHARE))
        rows = load_rows(_with_spec(self._order, state.spec), self._artifacts, fold=None)
        tree = grow([rows.X], state.matrices[state.best], self._blocks.leaf, self._blocks.overlap)
        if tree.leaves > 2 * MAX_LEAVES:
            raise InvalidRequest.at("/spec/blocks/leaf", f"the rows would need {tree.leaves} leaves: take larger ones")
        assignment = assign(tree, rows.X)
        own = torch.full((len(rows.X),), -1)
        for number, drawn in enumerate(self._drawn(rows, state.spec)):
            own[drawn] = number
        self._files = []
        for number in range(tree.leaves):
            chosen = at_most(assignment.of(number), self._blocks.leaf, state.spec.seed + number)
            self._files.append(self._put_rows(f"leaf-rows-{number:04d}", rows, chosen, own))
        state.tree = tree
        message = f"iteration {state.best} is the best by its {JUDGES[state.judges]}; {tree.leaves} leaves at its M"
        self._report(LogReport(data=LogData(message=message)))
        return self._plan(state)

    def _store(self, state: BlocksState, made: list[LeafDone]) -> FitDone:
        assert state.tree is not None  # noqa: S101 - there are leaves
        leaves = [stored_leaf(done.file, self._artifacts) for done in made]
        blocks = [stored_leaf(ref, self._artifacts).alone for ref in state.machines or ()]
        order = _with_spec(self._order, state.spec)
        rows = load_rows(order, self._artifacts, fold=None)
        variances = torch.tensor(state.columns["variances"], dtype=torch.float64)
        blend = DEFAULT_BLEND
        if rows.validation is not None:
            blend = choose_blend(state.tree, leaves, blocks, *rows.validation, state.targets)[0]
        model = BlocksModel.of(state.tree, leaves, blocks, blend.share, blend.temperature, variances)
        metrics = dict(state.history[state.best].metrics)
        if rows.validation is not None:
            X, Y = rows.validation
            metrics |= {f"validation_{name}": value for name, value in state.targets.metrics(model.raw(X), Y).items()}
        request = order.request
        features, targets = map(order.table.model_columns, (request.features or (), request.targets))
        served = ServedModel(rows.encoder, model, order.task, rows.classes, features, targets)
        folder = f"models/{order.prefix}"
        stored = self._artifacts.put_bytes(f"{folder}/model.safetensors", pack(*served.to_tensors()))
        first = leaves[0].alone.model
        best = Iterate(state.best, model.M, first.alpha, leaves[0].alone.ridge, first.bandwidth, None, metrics)
        content = self._checkpoints.matrices(self._trail, best, state.columns["variances"])
        matrices = self._artifacts.put_bytes(f"{folder}/matrices.safetensors", content)
        ridges = sorted(model.ridges)
        return FitDone(
            model=stored,
            matrices=matrices,
            summary=FittedModelSummary(
                task=order.task,
                classes=rows.classes,
                features=features,
                targets=targets,
                encoded_names=list(rows.encoder.names),
                encoded_sources=list(rows.encoder.sources),
                spec=state.spec.model_dump(mode="json"),
                metrics=metrics,
                chosen_by=state.judges,
                validation_chose=validation_chose(self._original_request),
                left_out_chose=left_out_chose(self._original_request, metrics),
                iteration=state.best,
                iterations=len(state.losses) - 1,
                ridge=ridges[(len(ridges) - 1) // 2],
                bandwidth=first.bandwidth,
                precision=str(first.alpha.dtype).removeprefix("torch."),
                solver=f"blocks: one M of {len(self._drawn(rows, state.spec))} blocks, {len(leaves)} leaves at it",
                refitted=False,
                choices=state.runs,
                training_rows=len(rows.X),
                history=state.history,
                versions=versions(),
            ),
        )

    def _put_rows(self, name: str, rows: TrainingRows, chosen: Tensor, own: Tensor | None = None) -> ArtifactRef:
        return self._put(name, pack_rows(rows.X[chosen], rows.Y[chosen], None if own is None else own[chosen]))

    def _put(self, name: str, content: bytes) -> ArtifactRef:
        key = f"jobs/{self._order.prefix}/{self._round:04d}-{name}.safetensors"
        return self._artifacts.put_bytes(key, content)


def _with_spec(order: BlocksOrder, spec: FitSpec) -> BlocksOrder:
    return order.model_copy(update={"request": order.request.model_copy(update={"spec": spec})})
