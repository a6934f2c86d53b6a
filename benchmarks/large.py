"""More rows than a kernel matrix has room for: conjugate gradients with a preconditioner.

A regression on random rows: y = tanh of three directions plus noise of a tenth. First 50,000 rows of 50 columns with no
options given, in a process of its own, whose memory is what it grew by. Then the same recursion, three updates of M, by
a factorisation and by conjugate gradients, wherever both run: how far apart their errors are.
"""

import argparse
import json
import multiprocessing
import time
from itertools import product
from typing import Any

import torch
from torch import Tensor

from benchmarks import memory
from benchmarks.report import Cell, Report
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.problem import Iterate
from worker.engine.recursion import iterate
from worker.engine.targets import RegressionTargets

ROWS, COLUMNS, TEST_ROWS = 50_000, 50, 2000
SIZES = (4000, 8000, 16_000)
RIDGES = (1e-3, 1e-2, 0.1)
UPDATES = 3
NOISE = 0.1
GIB = 2**30


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="of the fit without options")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="rows where both solvers run")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    rows, sizes = (2000, (1000,)) if arguments.quick else (arguments.rows, arguments.sizes)
    found = _apart("whole", rows, 0.0, arguments)
    report.table("Without options", ["what", "figure"], [[name, value] for name, value in found["told"].items()])
    report.table("Its iterations", ["iteration", "steps", "residual", "validation RMSE", "s"], found["history"])
    cells: list[list[Cell]] = []
    for n, ridge in product(sizes, RIDGES):
        direct, iterative = (_apart(solver, n, ridge, arguments) for solver in ("cholesky", "cg"))
        apart = abs(iterative["rmse"] / direct["rmse"] - 1)
        own = [direct["rmse"], iterative["rmse"], 100 * apart, iterative["steps"], direct["s"], iterative["s"]]
        cells.append([n, ridge, *own, direct["gib"], iterative["gib"]])
        print(*(f"{cell:.4g}" for cell in own), flush=True)
    columns = ["n", "ridge", "direct, RMSE", "cg, RMSE", "apart, %", "steps", "direct, s", "cg, s"]
    report.table("A factorisation and conjugate gradients", [*columns, "direct, GiB", "cg, GiB"], cells)
    report.note("Steps are the most of any solve. The noise alone is an RMSE of 0.1.")


def _apart(what: str, rows: int, ridge: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a process of its own measured."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: dict[str, Any] = pool.apply(_measured, (what, rows, ridge, arguments.seed, arguments.threads))
    print(what, rows, ridge, json.dumps(found.get("told", found)), flush=True)
    return found


def _measured(what: str, rows: int, ridge: float, seed: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    X, y = _drawn(rows + TEST_ROWS, seed)
    work = _whole if what == "whole" else _solved
    work(what, X[:300], y[:300], X[-10:], y[-10:], ridge)
    before = memory.resident()
    return work(what, X[:rows], y[:rows], X[rows:], y[rows:], ridge, before)


def _drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, COLUMNS, generator=generator, dtype=torch.float64)
    W = torch.randn(COLUMNS, 3, generator=generator, dtype=torch.float64) / COLUMNS**0.5
    noise = NOISE * torch.randn(n, generator=generator, dtype=torch.float64)
    return X, torch.tanh(X @ W).sum(1) + noise


def _whole(
    what: str, X: Tensor, y: Tensor, X_test: Tensor, y_test: Tensor, ridge: float, before: int = 0
) -> dict[str, Any]:
    from factrfm import FactRFMRegressor

    del what, ridge
    started = time.perf_counter()
    model = FactRFMRegressor().fit(X.numpy(), y.numpy())
    seconds = time.perf_counter() - started
    rmse = float((torch.tensor(model.predict(X_test.numpy())) - y_test).square().mean().sqrt())
    told = {
        "rows": len(X),
        "columns": X.shape[1],
        "seconds to fit": seconds,
        "seconds of them to choose": sum(run["seconds"] for run in model.choices_),
        "memory, GiB": max(memory.peak() - before, 0) / GIB,
        "test RMSE": rmse,
        "ridge": model.spec_["ridge"],
        "encoding": model.spec_["encoding"],
        "why this solver": model.solver_reason_,
    }
    history = [
        [
            one["iteration"],
            one.get("solve_steps"),
            one.get("solve_residual"),
            one["validation_rmse"],
            one["seconds"],
        ]
        for one in model.history_
    ]
    return {"told": told, "history": history}


def _solved(
    what: str, X: Tensor, y: Tensor, X_test: Tensor, y_test: Tensor, ridge: float, before: int = 0
) -> dict[str, Any]:
    Y = y.unsqueeze(1)
    targets = RegressionTargets.fit(Y)
    config = FitConfig(solver=what, ridge=ridge, iterations=UPDATES, precision="float32")
    started = time.perf_counter()
    iterates: list[Iterate] = [state.current for state in iterate(X, Y, targets, config)]
    seconds = time.perf_counter() - started
    grown = max(memory.peak() - before, 0) / GIB
    found = FittedModel.from_iterate(X, iterates[-1], config, targets).predict(X_test)
    rmse = float((found.squeeze(1) - y_test).square().mean().sqrt())
    steps = max(one.metrics.get("solve_steps", 0.0) for one in iterates)
    return {"rmse": rmse, "s": seconds, "gib": grown, "steps": steps}
