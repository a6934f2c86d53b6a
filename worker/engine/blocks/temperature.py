"""How far from a cut the answers of its two sides are blended, chosen on rows that trained no leaf."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.engine.blocks.answers import Answers
from worker.engine.blocks.tree import Tree, weights
from worker.engine.targets import Targets

TEMPERATURES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""What is chosen from, in spreads of a cut's rows."""
DEFAULT_TEMPERATURE = 0.2
"""Where no rows are held out."""


def choose_temperature(
    tree: Tree,
    leaves: Sequence[Answers],
    X: Tensor,
    Y: Tensor,
    targets: Targets,
    others: tuple[Tensor, Tensor] | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
) -> tuple[float, tuple[tuple[float, ...], ...]]:
    """Return the temperature with the least loss on held-out rows X (m, d), raw Y, and the losses of all.

    ``others``: shares (leaves,), and the answers (m, c) float64 of which every leaf adds its share to its own. Every
    leaf answers a row once, whatever the number of temperatures.
    """
    first = leaves[0].model.X
    X = X.to(first.device, first.dtype)
    blends = [weights(tree, X, temperature) for temperature in temperatures]
    found = [torch.zeros((len(X), targets.n_outputs), dtype=torch.float64, device=X.device) for _ in blends]
    for number, leaf in enumerate(leaves):
        # of every temperature the leaf's weight in each row
        shares = [((answering == number) * weight).sum(1) for answering, weight in blends]
        rows = torch.nonzero(torch.stack(shares).sum(0) > 0).squeeze(1)
        outputs = leaf(X[rows])
        if others is not None:
            outputs += others[0][number] * others[1][rows]
        for total, share in zip(found, shares, strict=True):
            total[rows] += share[rows].unsqueeze(1) * outputs
    losses = tuple(targets.loss(total, Y) for total in found)
    return temperatures[losses.index(min(losses))], losses
