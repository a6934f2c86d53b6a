"""How the machines' answers are blended, chosen on rows that trained none of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.blocks.answers import Answers, mean_outputs
from worker.engine.blocks.machines import Leaf, Machine
from worker.engine.blocks.tree import Tree, weights
from worker.engine.targets import Targets

TEMPERATURES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""How far from a cut both sides answer: what is chosen from, in spreads of a cut's rows."""
SHARES = (0.0, 0.5, 1.0)
"""Of the blocks: what is chosen from."""


@dataclass(frozen=True)
class Blend:
    """See ``BlocksModel``. ``loss``: of the held-out rows; None where there were none."""

    temperature: float
    share: float
    loss: tuple[float, ...] | None = None


DEFAULT_BLEND = Blend(0.2, 1.0)
"""Where no rows are held out."""


def choose_blend(
    tree: Tree,
    leaves: Sequence[Leaf],
    blocks: Sequence[Machine],
    X: Tensor,
    Y: Tensor,
    targets: Targets,
) -> tuple[Blend, list[Blend]]:
    """Return the blend with the least loss on held-out rows X (m, d), raw Y, the first of equals, and all of them.

    Every machine answers a row once, whatever the number of temperatures and shares: answers are linear in the share.
    """
    alone = leaf_sums(tree, [leaf.alone for leaf in leaves], X)
    shares: Sequence[float] = (0.0,)
    beside = alone
    if blocks:
        mean = mean_outputs([Answers(block.model) for block in blocks], X)
        sums = leaf_sums(tree, [leaf.mixed(1.0) for leaf in leaves], X)
        beside, shares = [mean + outputs for outputs in sums], SHARES
    tried = [
        Blend(temperature, share, targets.loss((1 - share) * without + share * with_blocks, Y))
        for share in shares
        for temperature, without, with_blocks in zip(TEMPERATURES, alone, beside, strict=True)
    ]
    return min(tried, key=lambda blend: blend.loss or ()), tried


def leaf_sums(tree: Tree, machines: Sequence[Machine], X: Tensor) -> list[Tensor]:
    """Return what the leaves' machines answer together to rows X (m, d) at every temperature, (m, c) float64 each."""
    first = machines[0].model
    X = X.to(first.X.device, first.X.dtype)
    blends = [weights(tree, X, temperature) for temperature in TEMPERATURES]
    found = [torch.zeros((len(X), first.targets.n_outputs), dtype=torch.float64, device=X.device) for _ in blends]
    for number, machine in enumerate(machines):
        # at every temperature the leaf's weight in each row
        own = [((answering == number) * weight).sum(1) for answering, weight in blends]
        rows = torch.nonzero(torch.stack(own).sum(0) > 0).squeeze(1)
        outputs = Answers(machine.model)(X[rows])
        for total, weight in zip(found, own, strict=True):
            total[rows] += weight[rows].unsqueeze(1) * outputs
    return found
