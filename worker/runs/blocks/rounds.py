"""The rounds of a fit by blocks: what the parts of each do, and how far the job is with it."""

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.parts import BlockWork, LeafWork, MachineWork, PartWork
from worker.runs.blocks.state import BlocksState

CHOOSING_SHARE, LEARNING_SHARE, MACHINES_SHARE, LEAVES_SHARE, STORING_SHARE = 0.1, 0.5, 0.6, 0.85, 0.95
"""How far the job is when options are chosen, M is learned, the machines of the blocks and the leaves are fitted, and
the leaves are fitted once more."""


def stage_of(state: BlocksState) -> tuple[str, float, float]:
    """Return what the next round does, and how far the job is before and after it."""
    if state.blend is not None:
        return "fitting the leaves with the rows held out", LEAVES_SHARE, STORING_SHARE
    if state.tree is not None:
        return "fitting the leaves", MACHINES_SHARE, LEAVES_SHARE if state.refits else STORING_SHARE
    if state.machines is not None:
        return "fitting the blocks", LEARNING_SHARE, MACHINES_SHARE
    each = (LEARNING_SHARE - CHOOSING_SHARE) / (state.spec.iterations + 1)
    begin, end = (CHOOSING_SHARE + each * done for done in (len(state.losses), len(state.losses) + 1))
    return "learning the feature matrix", begin, end


def part_of(state: BlocksState, shared: ArtifactRef, rows: ArtifactRef, number: int) -> PartWork:
    """Return a part of the next round. ``shared``: the file that all of them read. ``rows``: its own."""
    if state.blend is not None:
        fitted, share = state.leaves[number].file, state.blend.share
        return LeafWork(state=shared, rows=rows, number=number, fitted=fitted, share=share)
    if state.tree is not None:
        return LeafWork(state=shared, rows=rows, number=number)
    if state.machines is not None:
        return MachineWork(state=shared, rows=rows, number=number, ridge=state.chosen[state.best][number])
    return BlockWork(state=shared, rows=rows, number=number)
