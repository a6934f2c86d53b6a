"""All steps in one process, in the order in which many processes take them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.engine import summary
from worker.engine.blocks.answers import mean_outputs
from worker.engine.blocks.blend import DEFAULT_BLEND, choose_blend
from worker.engine.blocks.learn import BlockResult, around_ridges, block_feature_sum, following_metric, mean_loss
from worker.engine.blocks.machines import Machine, at_most, fit_leaf, fit_machine
from worker.engine.blocks.model import BlocksModel
from worker.engine.blocks.split import OVERLAP, grow
from worker.engine.config import FitConfig
from worker.engine.targets import Targets
from worker.engine.updates import first_metric


@dataclass(frozen=True)
class Round:
    """All blocks solved at one M, and the mean of their losses. Iteration 0 is the identity."""

    iteration: int
    M: Tensor
    results: tuple[BlockResult, ...]
    loss: tuple[float, ...]


def block_rows_of(n: int, block_rows: int, blocks: int, seed: int) -> list[Tensor]:
    """Return the rows of each block, ascending: at most ``blocks`` of ``block_rows`` of n rows drawn by ``seed``.

    With fewer rows than that, all rows in blocks as equal as can be.
    """
    count = min(blocks, -(-n // block_rows))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: count * block_rows]
    return [rows.sort().values for rows in torch.tensor_split(order, count)]


def learn(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    block_rows: int,
    blocks: int,
    seed: int,
    validation: tuple[Tensor, Tensor] | None = None,
) -> Iterator[Round]:
    """Yield a round after the other: all blocks of X (n, d), raw Y, solved at one M, then the next M from their sum.

    The end is that of ``recursion.iterate``: the iterations of the config, its patience, or an M without a feature.
    """
    rows_of = [rows.to(X.device) for rows in block_rows_of(len(X), block_rows, blocks, seed)]
    M: Tensor | None = first_metric(X.shape[1], config, X.device)
    losses: list[tuple[float, ...]] = []
    own = config
    while M is not None:
        results = tuple(
            block_feature_sum(X[rows], Y[rows], targets, own, M, seed + number, validation)
            for number, rows in enumerate(rows_of)
        )
        iteration = len(losses)
        losses.append(mean_loss(results))
        yield Round(iteration, M, results, losses[-1])
        M = following_metric(results, M, config, iteration, iteration - losses.index(min(losses)))
        own = around_ridges([result.ridge for result in results], config)


def fit_blocks(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    block_rows: int = 8000,
    blocks: int = 8,
    leaf_rows: int = 8000,
    overlap: float = OVERLAP,
    validation: tuple[Tensor, Tensor] | None = None,
    seed: int | None = None,
) -> BlocksModel:
    """Return a model of all rows X (n, d), raw Y: the M of the round with the least loss, and the machines at it.

    With one block, which holds all rows or is all there is to be, leaves learn the targets; else also what the blocks'
    mean leaves over. ``validation``: rows and raw targets that choose the round, the ridge of its blocks and how leaves
    and blocks are blended; None: rows left out, and ``DEFAULT_BLEND``. ``seed``: of all that is drawn, the config's if
    None.

    Raises:
        NonFiniteValues, NotPositiveDefinite, Inconsistent: as of ``fit_machine``.
    """
    seed = config.seed if seed is None else seed
    rounds = learn(X, Y, targets, config, block_rows, blocks, seed, validation)
    best = min(rounds, key=lambda round_: round_.loss)
    rows_of = [rows.to(X.device) for rows in block_rows_of(len(X), block_rows, blocks, seed)]
    own = torch.full((len(X),), -1, device=X.device)
    fitted = []
    for number, (rows, result) in enumerate(zip(rows_of, best.results, strict=True) if len(rows_of) > 1 else []):
        own[rows] = number
        chosen = replace(config, ridge=result.ridge)
        fitted.append(fit_machine(X[rows], Y[rows], targets, chosen, best.M, seed + number))
    around = around_ridges([result.ridge for result in best.results], config)
    return fit_leaves(X, Y, targets, around, best.M, fitted, own, leaf_rows, overlap, validation, seed)


def fit_leaves(
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    config: FitConfig,
    M: Tensor,
    blocks: Sequence[Machine],
    own: Tensor,
    leaf_rows: int,
    overlap: float,
    validation: tuple[Tensor, Tensor] | None,
    seed: int,
) -> BlocksModel:
    """Return the model of fitted blocks and a tree of leaves at M; other arguments and errors as of ``fit_blocks``.

    ``own`` (n,) int64: which block has trained each row, −1 for none.
    """
    tree, rows_of = grow(X, M, leaf_rows, overlap)
    answers = [block.model.raw for block in blocks]
    leaves = []
    for number, of_leaf in enumerate(rows_of):
        rows = at_most(of_leaf, leaf_rows, seed + number)
        base = mean_outputs(answers, X[rows], own[rows]) if blocks else None
        leaves.append(fit_leaf(X[rows], Y[rows], targets, config, M, seed + number, base))
    blend = DEFAULT_BLEND
    if validation is not None:
        base = mean_outputs(answers, validation[0]) if blocks else None
        blend, _, _ = choose_blend(tree, leaves, base, *validation, targets)
    return BlocksModel.of(tree, leaves, blocks, blend.share, blend.temperature, summary.variances(X))
