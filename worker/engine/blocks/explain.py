"""Why many kernel machines answer a row as they do: what ``worker.engine.explain`` says of one.

A row is explained by the machines that answer it. What another leaf learned has no part in the answer.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.blocks.answers import Answers
from worker.engine.blocks.model import BlocksModel
from worker.engine.blocks.tree import weights
from worker.engine.explain import nearest, slopes


@dataclass(frozen=True)
class NearRow:
    """A training row near an explained one: row ``row`` of a machine, in the order of leaves and then blocks.

    ``weight``: the kernel's value in this machine, whose bandwidth is its own.
    """

    machine: int
    row: int
    distance: float
    weight: float


@dataclass(frozen=True)
class _Near:
    """A neighbour with the factor of its machine in the answer, and its values in float32: all machines hold these.

    ``group``: the leaf, or one number for all blocks.
    """

    factor: float
    group: int
    values: bytes
    shown: NearRow


@dataclass(frozen=True)
class _Part:
    """A machine that answers some ``rows`` (r,) of X, and the factor of its answers in the model's, (r,) float64."""

    number: int
    machine: Answers
    rows: Tensor
    factors: Tensor


def neighbours(model: BlocksModel, X: Tensor, k: int) -> list[list[NearRow]]:
    """Return the ``k`` training rows (or all, where there are fewer) nearest under M to each row of X (m, d).

    They are rows of the machines that answer it. A training row of several of them is one neighbour, with the kernel
    of the machine that has the largest part in the answer. Memory is m × rows of a machine.
    """
    X = _placed(model, X)
    found: list[list[_Near]] = [[] for _ in X]
    for part in _parts(model, X, *weights(model.tree, X, model.temperature)):
        machine, group = part.machine.model, min(part.number, len(model.leaves))
        near = nearest(machine, part.machine.products(X[part.rows]), X[part.rows], k)
        values = machine.X[near.rows].float().cpu().numpy()
        lists = zip(near.rows.tolist(), near.distances.tolist(), near.weights.tolist(), values, strict=True)
        for row, factor, columns in zip(part.rows.tolist(), part.factors.tolist(), lists, strict=True):
            for number, distance, weight, values_of_row in zip(*columns, strict=True):
                shown = NearRow(part.number, number, distance, weight)
                found[row].append(_Near(factor, group, values_of_row.tobytes(), shown))
    return [_merged(near)[:k] for near in found]


def gradients(model: BlocksModel, X: Tensor, of: Sequence[int]) -> Tensor:
    """Return the derivatives of some outputs (``of``: their indices) at each row of X (m, d), (m, d, len(of)) float64.

    They are those of ``model.raw``, so they hold how the leaves' weights change too: share · mean over blocks of ∇bₖ +
    Σ wⱼ ∇lⱼ + Σ lⱼ ∇wⱼ. Where the answer jumps, at a cut that is not blended or where a leaf's weight becomes
    negligible, the jump is in no derivative. Memory is m × rows of a machine.
    """
    X = _placed(model, X)
    with torch.enable_grad():
        places = X.double().clone().requires_grad_()
        answering, shares = weights(model.tree, places, model.temperature)
    found = torch.zeros((*X.shape, len(of)), dtype=torch.float64, device=X.device)
    outputs = torch.zeros((*shares.shape, len(of)), dtype=torch.float64, device=X.device)
    for part in _parts(model, X, answering, shares.detach()):
        machine, rows = part.machine, X[part.rows]
        own = slopes(machine.model, machine.points, machine.products(rows), rows, of)
        found[part.rows] += part.factors[:, None, None] * own
        if part.number < len(model.leaves):
            outputs[part.rows] += (answering[part.rows] == part.number).unsqueeze(2) * machine(rows)[:, None, list(of)]
    if shares.requires_grad:
        for index in range(len(of)):
            blended = (shares * outputs[:, :, index]).sum()
            [moved] = torch.autograd.grad(blended, places, retain_graph=True)
            found[:, :, index] += moved
    return found


def _placed(model: BlocksModel, X: Tensor) -> Tensor:
    """Return X as the machines take it."""
    return X.to(model.M.device, model.leaves.dtype)


def _parts(model: BlocksModel, X: Tensor, answering: Tensor, shares: Tensor) -> Iterator[_Part]:
    """Yield the machines that answer rows of X, with the leaves' numbers and weights (m, k) from ``tree.weights``."""
    answers = shares > 0
    for number in sorted(set(answering[answers].tolist())):
        rows, places = torch.nonzero((answering == number) & answers, as_tuple=True)
        yield _Part(number, model.leaves.answers(number), rows, shares[rows, places])
    every = torch.arange(len(X), device=X.device)
    for number in range(len(model.blocks)):
        factors = torch.full((len(X),), model.share / len(model.blocks), dtype=torch.float64, device=X.device)
        yield _Part(len(model.leaves) + number, model.blocks.answers(number), every, factors)


def _merged(near: list[_Near]) -> list[NearRow]:
    """Return the neighbours that several machines name, nearest first, each training row once.

    A leaf has a training row once, and so have the blocks together. Rows are told apart by their values: of equal ones
    there are as many as such a group has.
    """
    groups: dict[int, list[_Near]] = {}
    for row in sorted(near, key=lambda row: -row.factor):
        groups.setdefault(row.group, []).append(row)
    merged: list[NearRow] = []
    taken: Counter[bytes] = Counter()
    for rows in groups.values():
        own: Counter[bytes] = Counter()
        for row in rows:
            own[row.values] += 1
            if own[row.values] > taken[row.values]:
                taken[row.values] += 1
                merged.append(row.shown)
    return sorted(merged, key=lambda row: row.distance)
