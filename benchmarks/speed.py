"""Fit and predict beside xRFM: the same kernel, bandwidth, ridge, iterations, precision and threads.

Laplace kernel, full M, float32, random rows. One iteration of every method: two solves and one update of M between
them. Every fit runs in a process of its own, after a small fit that loads what is loaded once; its memory is what the
process grew by. xRFM runs as it comes (an LU solve, AGOP over at most 20,000 rows, no early stop) and again with its
own Cholesky solver; where its batch of gradients would not fit into memory it gets a smaller one. It learns AGOP, ours
is timed with FACT, the default, and with AGOP. xRFM's Cholesky runs on fewer than 8000 rows. Beyond 8000 rows only xRFM
as it comes and FACT run, on at most 10 outputs: with 100 of them xRFM would take more than five minutes a fit.
"""

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import memory
from benchmarks.report import Cell, Report
from worker.engine.config import FitConfig
from worker.engine.kernels import KernelPoints
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.solvers import cholesky
from worker.engine.targets import RegressionTargets

SIZES = (2000, 4000, 8000, 16000)
COLUMNS = (20, 100, 500)
OUTPUTS = (1, 10, 100)
METHODS = ("fact", "agop", "xrfm", "xrfm cholesky")
FIGURES = (
    "fact / its solves",
    "fact memory, n² floats",
    "xRFM memory, n² floats",
    "fact, rows/s",
    "xRFM, rows/s",
)
BANDWIDTH = 10.0
RIDGE = 1e-2
ITERATIONS = 1
PREDICTED = 4000
REPEATS = 3
"""Fits up to 4000 rows, and every prediction, are timed so often; the shortest counts."""
XRFM_BATCH, XRFM_BYTES = 10_000, 4 * 2**30
"""xRFM takes the gradients of up to so many rows at once, its default; fewer where they would take so much memory."""
LARGE = 8000
"""From so many rows on the fit is compared with its own Cholesky solves, and its memory with n² numbers."""

MAX_OUTPUTS = 10
"""Beyond those rows."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--columns", type=int, nargs="+", default=COLUMNS)
    parser.add_argument("--outputs", type=int, nargs="+", default=OUTPUTS)
    parser.add_argument("--work", type=Path, default=Path("build/speed-work"), help="measured cells, to go on from")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    sizes, columns, outputs = arguments.sizes, arguments.columns, arguments.outputs
    work = arguments.work
    if arguments.quick:
        sizes, columns, outputs, work = (1000,), (20,), (1, 10), arguments.out or Path("build/speed-quick")
    cells = [(n, d, c) for n, d, c in product(sizes, columns, outputs) if n <= LARGE or c <= MAX_OUTPUTS]
    measured = {
        cell: {method: _measured(method, *cell, arguments, work) for method in _methods(cell[0])} for cell in cells
    }
    rows: list[list[Cell]] = []
    for (n, d, c), found in measured.items():
        seconds = [found[method]["fit_s"] if method in found else None for method in METHODS]
        peaks = [found[method]["grown_bytes"] / (4 * n * n) for method in ("fact", "xrfm")]
        own = found["fact"]["fit_s"] / found["fact"]["solves_s"]
        rates = [PREDICTED / found[method]["predict_s"] for method in ("fact", "xrfm")]
        faster = found["xrfm"]["fit_s"] / found["fact"]["fit_s"]
        rows.append([n, d, c, *seconds, faster, own, *peaks, *rates])
    report.table(
        "Fit and predict",
        ["n", "d", "c", *(f"{method}, s" for method in METHODS), "xRFM / fact", *FIGURES],
        rows,
    )
    report.table("Geometric means and extremes", ["what", "cells", "figure"], _summary(measured))
    report.picture("growth", _drawn(measured), "Seconds to fit by rows (d = 100 where measured), by outputs.")
    report.note(
        "A fit has two solves. 'its solves' is the time of two Cholesky factorisations and triangular solves of the "
        "same size, measured in the same process. Memory is the process's growth over what it held before the fit."
    )


def _summary(measured: dict[tuple[int, int, int], dict[str, dict[str, float]]]) -> list[list[Cell]]:
    def ratios(
        peer: str, chosen: Callable[[int, int, int], bool], key: str = "fit_s", own: str = "fact"
    ) -> list[float]:
        both = [found for cell, found in measured.items() if chosen(*cell) and {peer, own} <= set(found)]
        return [found[peer][key] / found[own][key] for found in both]

    rows: list[list[Cell]] = []
    for peer in ("xrfm", "xrfm cholesky"):
        for own in ("fact", "agop"):
            for name, chosen in (("c = 1", _one_output), ("c ≥ 10", _many_outputs)):
                found = ratios(peer, chosen, own=own)
                if found:
                    rows.append([f"{peer} / {own}, fit, {name}, geometric mean", len(found), _geometric_mean(found)])
    found = ratios("xrfm", lambda n, d, c: True, "predict_s")
    rows.append(["xrfm / fact, predict, geometric mean", len(found), _geometric_mean(found)])
    rows.append(["xrfm / fact, predict, least", len(found), min(found)])
    large = {cell: found for cell, found in measured.items() if cell[0] >= LARGE}
    if large:
        own_solves = [found["fact"]["fit_s"] / found["fact"]["solves_s"] for found in large.values()]
        memory = [found["fact"]["grown_bytes"] / (4 * cell[0] ** 2) for cell, found in large.items()]
        rows.append([f"fact / its solves, n ≥ {LARGE}, most", len(large), max(own_solves)])
        rows.append([f"fact memory in n² floats, n ≥ {LARGE}, most", len(large), max(memory)])
    for method in METHODS:
        differences = [found[method]["difference"] for found in measured.values() if method in found]
        rows.append([f"{method}, largest difference of its answers from float64's", len(differences), max(differences)])
    return rows


def _methods(n: int) -> tuple[str, ...]:
    if n > LARGE:
        return ("fact", "xrfm")
    return METHODS if n < LARGE else ("fact", "agop", "xrfm")


def _one_output(n: int, d: int, c: int) -> bool:
    return c == 1


def _many_outputs(n: int, d: int, c: int) -> bool:
    return c >= 10


def _geometric_mean(values: list[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _measured(method: str, n: int, d: int, c: int, arguments: argparse.Namespace, work: Path) -> dict[str, float]:
    path = work / f"{method.replace(' ', '-')}-{n}-{d}-{c}-{arguments.seed}-{arguments.threads}.json"
    if path.exists():
        found: dict[str, float] = json.loads(path.read_text())
        return found
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_cell, (method, n, d, c, arguments.seed, arguments.threads))
    work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    print(method, n, d, c, {name: float(f"{value:.3g}") for name, value in found.items()}, flush=True)
    return found


def _cell(method: str, n: int, d: int, c: int, seed: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    X, Y, Q = _rows(n, d, c, seed)
    fit = _xrfm if method.startswith("xrfm") else _ours
    small = _rows(300, d, c, seed)
    fit(method, small[0], small[1])(small[2][:10])
    before = memory.resident()
    predict, fit_s = _timed(lambda: fit(method, X, Y), 1 if n > LARGE // 2 else REPEATS)
    # the highest the process has been: the fit is the largest thing in it so far
    grown = max(memory.peak() - before, 0)
    _, predict_s = _timed(lambda: predict(Q), REPEATS)
    found = {"fit_s": fit_s, "predict_s": predict_s, "grown_bytes": float(grown)}
    if method == "fact":
        found["solves_s"] = (ITERATIONS + 1) * _solve_seconds(X, Y)
    found["difference"] = _difference(method, seed)
    return found


def _rows(n: int, d: int, c: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n + PREDICTED, d, generator=generator)
    W = torch.randn(min(d, 10), c, generator=generator)
    Y = torch.tanh(X[:, : len(W)] @ W / len(W) ** 0.5) + 0.1 * torch.randn(len(X), c, generator=generator)
    return X[:n].clone(), Y[:n].clone(), X[n:].clone()


def _ours(method: str, X: Tensor, Y: Tensor) -> Callable[[Tensor], Tensor]:
    c = Y.shape[1]
    targets = RegressionTargets(torch.zeros(c, dtype=torch.float64), torch.ones(c, dtype=torch.float64))
    options: dict[str, Any] = {"update": "fact"} if method == "fact" else {"update": "nfa"}
    config = FitConfig(kernel="laplace", bandwidth=BANDWIDTH, ridge=RIDGE, iterations=ITERATIONS, **options)
    last = None
    for state in iterate(X, Y, targets, config):
        last = state.current
    assert last is not None
    return FittedModel.from_iterate(X, last, config, targets).raw


def _xrfm(method: str, X: Tensor, Y: Tensor) -> Callable[[Tensor], Tensor]:
    from xrfm.rfm_src import RFM

    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        solver = "cholesky" if method == "xrfm cholesky" else "solve"
        n, c = Y.shape
        batch = min(n, XRFM_BATCH, max(XRFM_BYTES // (4 * n * c), 1))
        model = RFM("l2", iters=ITERATIONS, bandwidth=BANDWIDTH, device="cpu", verbose=False, solver=solver)
        # one row to validate on: it asks for some, ours has none
        options = {"early_stop_rfm": False, "return_best_params": False, "solver": solver, "M_batch_size": batch}
        model.fit((X, Y), (X[:1], Y[:1]), reg=RIDGE, **options)

    def predict(Q: Tensor) -> Tensor:
        answer: Tensor = model.predict(Q)
        return answer

    return predict


def _difference(method: str, seed: int) -> float:
    """Return how far a small fit's answers are from the same fit in float64, relative to their size: 0 iterations."""
    X, Y, Q = _rows(500, 20, 2, seed)
    kernel = FitConfig(kernel="laplace").kernel_function
    points = KernelPoints(X.double(), torch.eye(20, dtype=torch.float64), kernel)
    alpha = cholesky.solve(cholesky.cholesky_(points.triangle(BANDWIDTH), RIDGE), Y.double())
    true = kernel.value_(points.products(Q.double()), BANDWIDTH) @ alpha
    global ITERATIONS
    kept, ITERATIONS = ITERATIONS, 0
    try:
        found = (_xrfm if method.startswith("xrfm") else _ours)(method, X, Y)(Q)
    finally:
        ITERATIONS = kept
    return float((found.double() - true).norm() / true.norm())


def _solve_seconds(X: Tensor, Y: Tensor) -> float:
    """Return the shortest time of a factorisation and its triangular solves; K is there before the clock starts."""
    points = KernelPoints(X, torch.eye(X.shape[1]), FitConfig(kernel="laplace").kernel_function)
    K = torch.zeros(len(X), len(X))
    seconds = []
    for _ in range(1 if len(X) > LARGE else REPEATS):
        points.triangle(BANDWIDTH, K)
        seconds.append(_timed(lambda: cholesky.solve(cholesky.cholesky_(K, RIDGE), Y), 1)[1])
    return min(seconds)


def _timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Return what the work gave last, and its shortest time."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    return found, min(seconds)


def _drawn(measured: dict[tuple[int, int, int], dict[str, dict[str, float]]]) -> Figure:
    outputs = sorted({cell[2] for cell in measured})
    d = 100 if any(cell[1] == 100 for cell in measured) else next(iter(measured))[1]
    figure = Figure(figsize=(4 * len(outputs), 3.2))
    panels = figure.subplots(1, len(outputs), sharey=True, squeeze=False)[0]
    for panel, c in zip(panels, outputs, strict=True):
        for method in METHODS:
            points = [
                (n, found[method]["fit_s"])
                for (n, columns, own), found in measured.items()
                if (columns, own) == (d, c) and method in found
            ]
            panel.loglog(*zip(*sorted(points), strict=True), marker="o", markersize=3, label=method)
        panel.set_title(f"c = {c}, d = {d}")
        panel.set_xlabel("rows")
    panels[0].set_ylabel("seconds to fit")
    panels[-1].legend()
    return figure
