"""Modular arithmetic: accuracy on unseen pairs by iteration, and the circulant block of M.

A row is a pair of symbols, both one-hot; the class is their sum, difference, product or quotient mod p. Multiplication
and division leave out 0, so they have p − 1 symbols. Half of all pairs are trained on, drawn by the seed; accuracy is
on all the others, where chance is one in as many as there are symbols. Gaussian kernel, bandwidth 2.5, ridge 0,
float64, trace scaling. Nothing is chosen: every iteration up to a cap fixed beforehand is shown.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.report import Cell, Report
from worker.engine.config import FitConfig
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets

GROKKED = 0.995
VARIANTS = {
    "fact": {"update": "fact"},
    "geometric": {"update": "fact", "geometric_average": True},
    "nfa": {"update": "nfa", "agop_power": 0.5, "center_gradients": True},
}


@dataclass(frozen=True)
class Case:
    """One operation mod p under one update, for so many iterations."""

    operation: str
    p: int
    update: str
    iterations: int

    @property
    def multiplicative(self) -> bool:
        return self.operation in ("multiplication", "division")

    @property
    def inverse(self) -> bool:
        """Whether the second operand enters by its inverse."""
        return self.operation in ("subtraction", "division")

    @property
    def symbols(self) -> int:
        return self.p - 1 if self.multiplicative else self.p

    @property
    def title(self) -> str:
        return f"{self.operation} mod {self.p}, {self.update}"


@dataclass(frozen=True)
class Found:
    """Accuracy on the unseen pairs by iteration, and of the last M its off-diagonal block (symbols, symbols).

    ``deviation``: how far the block is from being circulant. ``seconds``: CPU time an iteration.
    """

    accuracies: list[float]
    block: Tensor
    deviation: float
    seconds: float

    @property
    def first(self) -> int | None:
        return next((t for t, accuracy in enumerate(self.accuracies) if accuracy >= GROKKED), None)


CASES = (
    Case("addition", 61, "fact", 40),
    Case("addition", 61, "geometric", 80),
    Case("addition", 61, "nfa", 40),
    *(Case(operation, 61, "fact", 60) for operation in ("multiplication", "subtraction", "division")),
    *(Case("addition", p, "fact", 60) for p in (53, 43, 31)),
    *(Case(operation, 31, "fact", 60) for operation in ("multiplication", "subtraction", "division")),
)
QUICK_CASES = (
    Case("addition", 31, "fact", 40),
    Case("multiplication", 31, "fact", 40),
    Case("addition", 53, "fact", 40),
    Case("multiplication", 53, "fact", 40),
)
DRAWS = 5
"""Draws of the training half on which addition is repeated."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--iterations", type=int, help="the cap of every case, in place of its own")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    cases = QUICK_CASES if arguments.quick else CASES
    if arguments.iterations is not None:
        cases = tuple(replace(case, iterations=arguments.iterations) for case in cases)
    found: dict[Case, Found] = {}
    for case in cases:
        found[case] = measure(case, arguments.seed)
        print(case.title, found[case].first, found[case].accuracies[-1], found[case].deviation, flush=True)
    _tell(report, found)
    largest = max(case.p for case in cases)
    shown = {case: result for case, result in found.items() if case.p == largest}
    report.picture("accuracy", _curves(shown), f"Accuracy on unseen pairs by iteration, p = {largest}.")
    report.picture(
        "blocks",
        _heatmaps({case: result for case, result in shown.items() if case.update == "fact"}),
        "The off-diagonal block of the last M: rows are the first operand's symbols, columns the second's. "
        "'By logarithm': the symbols re-ordered by discrete logarithm.",
    )
    if not arguments.quick:
        _repeat(report, cases[0], found[cases[0]], arguments.seed)


def _tell(report: Report, found: dict[Case, Found]) -> None:
    rows: list[list[Cell]] = []
    for case, result in found.items():
        rows.append(
            [
                case.operation,
                case.p,
                case.update,
                case.iterations,
                "no" if result.first is None else result.first,
                100 * max(result.accuracies),
                100 * result.accuracies[-1],
                result.deviation,
                "i + j" if case.inverse else "i − j",
                result.seconds,
            ]
        )
    report.table(
        "Grokking by operation and update",
        [
            "operation",
            "p",
            "update",
            "iterations",
            "first at 99.5 %",
            "best, %",
            "final, %",
            "circulant deviation",
            "along",
            "CPU s an iteration",
        ],
        rows,
    )
    report.note(
        "Circulant deviation: the variance inside the cyclic diagonals of M's off-diagonal block as a share of the "
        "block's variance, at the last iteration. 0 is exactly circulant; a block without structure has about "
        "(m − 1)/m for m symbols. The diagonals are those of constant i − j for addition and multiplication, of "
        "constant i + j for subtraction and division; for multiplication and division i and j are the symbols' "
        "discrete logarithms. 'nfa' is the power ½ of the AGOP with centred gradients."
    )
    failed = [case.title for case, result in found.items() if result.first is None]
    report.note(
        f"Did not reach 99.5 % within the cap: {'; '.join(failed)}." if failed else "Every case reached 99.5 %."
    )
    paths: list[list[Cell]] = [
        [case.title, " ".join(f"{100 * accuracy:.0f}" for accuracy in result.accuracies)]
        for case, result in found.items()
    ]
    report.table("Accuracy on unseen pairs by iteration, %", ["case", "path"], paths)


def _repeat(report: Report, case: Case, found: Found, seed: int) -> None:
    rows: list[list[Cell]] = []
    for draw in range(seed, seed + DRAWS):
        result = found if draw == seed else measure(case, draw)
        final = 100 * result.accuracies[-1]
        rows.append([draw, "no" if result.first is None else result.first, final, result.deviation])
    columns = ["seed", "first at 99.5 %", "final, %", "circulant deviation"]
    report.table(f"{case.title}: other draws of the training half, {case.iterations} iterations", columns, rows)


def measure(case: Case, seed: int) -> Found:
    """Fit one case on a drawn half of all pairs and test every iteration on the other half."""
    m = case.symbols
    pairs = torch.cartesian_prod(torch.arange(m), torch.arange(m))
    X = torch.nn.functional.one_hot(pairs, m).reshape(m * m, 2 * m).double()
    codes = outcomes(case, pairs)
    order = torch.randperm(m * m, generator=torch.Generator().manual_seed(seed))
    train, test = order[: m * m // 2], order[m * m // 2 :]
    config = FitConfig(
        kernel="gaussian",
        bandwidth=2.5,
        ridge=0.0,
        precision="float64",
        iterations=case.iterations,
        **VARIANTS[case.update],
    )
    began = time.process_time()
    accuracies: list[float] = []
    M = torch.empty(0)
    for state in iterate(X[train], codes[train], ClassTargets(m), config, validation=(X[test], codes[test])):
        accuracies.append(state.current.metrics["validation_accuracy"])
        M = state.current.M
    seconds = (time.process_time() - began) / len(accuracies)
    block = M[:m, m:]
    return Found(accuracies, block, circulant_deviation(case, block), seconds)


def outcomes(case: Case, pairs: Tensor) -> Tensor:
    """Return the class of each pair (n, 2), from 0. Symbol s of a multiplicative case stands for the number s + 1."""
    p = case.p
    left, right = pairs.unbind(1)
    if not case.multiplicative:
        return (left - right if case.inverse else left + right) % p
    power = -1 if case.inverse else 1
    factors = torch.tensor([pow(number, power, p) for number in range(1, p)])
    return (left + 1) * factors[right] % p - 1


def discrete_logarithms(case: Case) -> Tensor:
    """Return the order of the symbols in which the operation is an addition or a subtraction.

    For multiplication and division mod p it lists the powers of the least primitive root, from the zeroth on.
    """
    p = case.p
    if not case.multiplicative:
        return torch.arange(p)
    for root in range(2, p):
        powers = [pow(root, exponent, p) for exponent in range(p - 1)]
        if len(set(powers)) == p - 1:
            return torch.tensor(powers) - 1
    raise ValueError(f"{p} is not an odd prime")


def circulant_deviation(case: Case, block: Tensor) -> float:
    """Return the variance inside the cyclic diagonals as a share of the block's variance.

    Which diagonals: with b the block, xᵀMz of pairs (i, j) and (k, l) holds b(i, l) + b(k, j). Where b is a function of
    i − j, its waves meet in the products cos(i − l) cos(k − j), which hold cos((i + j) − (k + l)): a kernel on sums.
    Where b is a function of i + j, the same products hold a kernel on differences.
    """
    order = discrete_logarithms(case)
    ordered = block[order][:, order]
    m = len(ordered)
    i = torch.arange(m)
    diagonals = (i.unsqueeze(1) + i if case.inverse else i.unsqueeze(1) - i) % m
    sums = torch.zeros(m, dtype=ordered.dtype).index_add_(0, diagonals.flatten(), ordered.flatten())
    inside = (ordered - (sums / m)[diagonals]).square().sum()
    return float(inside / (ordered - ordered.mean()).square().sum())


def _curves(found: dict[Case, Found]) -> Figure:
    figure = Figure(figsize=(6.5, 3.6))
    axes = figure.subplots()
    for case, result in found.items():
        axes.plot([100 * accuracy for accuracy in result.accuracies], label=f"{case.operation}, {case.update}")
    axes.set_xlabel("iteration")
    axes.set_ylabel("accuracy on unseen pairs, %")
    axes.legend(fontsize="small")
    return figure


def _heatmaps(found: dict[Case, Found]) -> Figure:
    panels: list[tuple[str, Tensor]] = []
    for case, result in found.items():
        panels.append((case.operation, result.block))
        if case.multiplicative:
            order = discrete_logarithms(case)
            panels.append((f"{case.operation}, by logarithm", result.block[order][:, order]))
    return _drawn(panels)


def _drawn(panels: Sequence[tuple[str, Tensor]]) -> Figure:
    columns = 3
    figure = Figure(figsize=(3.6 * columns, 3.2 * -(-len(panels) // columns)), layout="constrained")
    axes = figure.subplots(-(-len(panels) // columns), columns, squeeze=False).flatten()
    for panel, (title, block) in zip(axes, panels, strict=False):
        drawn = panel.imshow(block.numpy(), cmap="viridis", interpolation="nearest")
        panel.set_title(title, fontsize="medium")
        figure.colorbar(drawn, ax=panel, fraction=0.046)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    return figure
