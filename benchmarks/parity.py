"""Sparse parity: accuracy by iteration, and how far the true columns stand out.

The label is the product of the first k of 50 columns of ±1. Gaussian kernel, bandwidth 5, ridge 0.001, trace scaling.
Nothing is chosen: every iteration's accuracy on 1000 fresh rows is shown.
"""

import argparse

import torch
from matplotlib.figure import Figure

from benchmarks.report import Cell, Report
from worker.engine.config import FitConfig
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets

COLUMNS = 50
TEST_ROWS = 1000
CASES = {2: (125, 250, 500, 1000), 3: (500, 1000, 2000, 4000), 4: (3000, 5000, 8000)}
ITERATIONS = {2: 4, 3: 6, 4: 10}
QUICK_CASES = {2: (500,), 3: (2000,)}
VARIANTS = {
    "fact": {"update": "fact"},
    "geometric": {"update": "fact", "geometric_average": True},
    "nfa": {"update": "nfa"},
    "none": {"update": "none"},
}
SHOWN = {2: 500, 3: 2000, 4: 5000}
"""The n of each k whose curves are drawn."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """This benchmark has no options of its own."""
    del parser


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    rows: list[list[Cell]] = []
    curves: dict[int, dict[str, list[float]]] = {}
    for k, sizes in (QUICK_CASES if arguments.quick else CASES).items():
        for n in sizes:
            for name, options in VARIANTS.items():
                accuracies, ratio = _measure(k, n, options, arguments.seed)
                path = " ".join(f"{100 * accuracy:.0f}" for accuracy in accuracies)
                first = next((t for t, accuracy in enumerate(accuracies) if accuracy >= 0.995), None)
                rows.append([k, n, name, path, first, ratio])
                print(*rows[-1], flush=True)
                if n == SHOWN[k]:
                    curves.setdefault(k, {})[name] = accuracies
    columns = ["k", "n", "update", "test accuracy by iteration, %", "first at 99.5 %", "support ratio"]
    report.table("Accuracy by iteration", columns, rows)
    report.note(
        "Support ratio: the smallest diagonal entry of the last M among the k true columns over the largest among the "
        "others. Above 1 the k largest entries are exactly the support."
    )
    report.picture("accuracy", _drawn(curves), "Test accuracy by iteration; chance is 50 %.")


def _measure(k: int, n: int, options: dict[str, object], seed: int) -> tuple[list[float], float]:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randint(0, 2, (n + TEST_ROWS, COLUMNS), generator=generator).float() * 2 - 1
    codes = (X[:, :k].prod(1) > 0).long()
    config = FitConfig(kernel="gaussian", bandwidth=5.0, ridge=1e-3, iterations=ITERATIONS[k], **options)
    states = list(iterate(X[:n], codes[:n], ClassTargets(2), config, validation=(X[n:], codes[n:])))
    diagonal = states[-1].current.M.diagonal()
    return (
        [state.current.metrics["validation_accuracy"] for state in states],
        float(diagonal[:k].min() / diagonal[k:].max()),
    )


def _drawn(curves: dict[int, dict[str, list[float]]]) -> Figure:
    figure = Figure(figsize=(4 * len(curves), 3.2))
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for panel, (k, lines) in zip(panels, curves.items(), strict=True):
        for name, accuracies in lines.items():
            panel.plot([100 * accuracy for accuracy in accuracies], marker="o", markersize=3, label=name)
        panel.set_title(f"k = {k}, n = {SHOWN[k]}")
        panel.set_xlabel("iteration")
    panels[0].set_ylabel("test accuracy, %")
    panels[-1].legend()
    return figure
