"""How the machines' answers are blended, chosen on rows that trained none of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.blocks.machines import Leaf
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
    tree: Tree, leaves: Iterable[Leaf], base: Tensor | None, X: Tensor, Y: Tensor, targets: Targets
) -> tuple[Blend, Tensor, list[Blend]]:
    """Return the blend with the least loss on held-out rows X (m, d), raw Y, the first of equals, and all of them.

    Between them: what the model with it answers to the rows, (m, c) float64. ``leaves``: in the order of their numbers,
    one at a time. ``base`` (m, c): what the blocks answer to the rows, None without blocks. Every machine answers a row
    once, whatever the number of temperatures and shares: answers are linear in the share.
    """
    sums = leaf_sums(tree, leaves, X)
    shares: Sequence[float] = (0.0,) if base is None else SHARES
    best: tuple[Blend, Tensor] | None = None
    tried: list[Blend] = []
    for share in shares:
        for temperature, outputs in zip(TEMPERATURES, sums, strict=True):
            without, *with_blocks = outputs.unbind(0)
            mixed = without if base is None else (1 - share) * without + share * (base + with_blocks[0])
            blend = Blend(temperature, share, targets.loss(mixed, Y))
            tried.append(blend)
            if best is None or (blend.loss or ()) < (best[0].loss or ()):
                best = blend, mixed
    assert best is not None  # noqa: S101 - there are temperatures
    return *best, tried


def leaf_sums(tree: Tree, leaves: Iterable[Leaf], X: Tensor) -> list[Tensor]:
    """Return what the leaves answer together to rows X (m, d) at every temperature, (1 or 2, m, c) float64 each.

    The first is of their machines alone, the second of those beside the blocks.
    """
    blends: list[tuple[Tensor, Tensor]] = []
    sums: list[Tensor] = []
    for number, leaf in enumerate(leaves):
        machine = leaf.both
        c = leaf.alone.model.targets.n_outputs
        if not sums:
            X = X.to(machine.X.device, machine.X.dtype)
            blends = [weights(tree, X, temperature) for temperature in TEMPERATURES]
            shape = (machine.alpha.shape[1] // c, len(X), c)
            sums = [torch.zeros(shape, dtype=torch.float64, device=X.device) for _ in blends]
        # at every temperature the leaf's weight in each row
        own = [((answering == number) * weight).sum(1) for answering, weight in blends]
        rows = torch.nonzero(torch.stack(own).sum(0) > 0).squeeze(1)
        outputs = torch.stack(torch.split(machine.raw(X[rows]).double(), c, 1))
        for total, weight in zip(sums, own, strict=True):
            total[:, rows] += weight[rows].unsqueeze(1) * outputs
    return sums
