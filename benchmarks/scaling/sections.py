"""What each section of the benchmark measures: one cell of a table, in a service of its own."""

import argparse
import contextlib
import hashlib
import heapq
import io
import json
import math
import multiprocessing
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import memory
from benchmarks.scaling.cluster import Cluster, cluster
from benchmarks.tables import METHODS, Task

TABLES = ("protein", "diamonds", "poker_100k", "jannis_30k", "bank_marketing_45k", "flights")
FEW_ROWS, BLOCK_ROWS = 12_000, 8000
"""Training rows, drawn, with which a whole solve is compared, for a factorisation of all would take hours; rows of a
block."""
FEW = " of few rows"
LIMIT_SECONDS = 1200
"""A peer that has not ended by then is stopped."""
XRFM_ROWS = 30_000
"""xRFM is not run with more training rows: with 36,000 it had not ended after 17 minutes."""
COLUMNS, TEST_ROWS = 50, 20_000
SAME_ROWS = 30_000
SEARCH_ROWS = 4000
FLIGHTS_DROPPED = ("dep_time", "dep_delay", "arr_time", "time_hour", "tailnum", "flight", "year")
"""Columns of flights that are not known before the flight, or are its name."""
VALIDATION_SHARE = 0.1
FRIEDMAN = {
    "spec": {
        "solver": "blocks",
        "encoding": "plain",
        "refit": False,
        "blocks": {"rows": 4000, "leaf": 2000, "overlap": 0.05},
    },
    "validation": {"fraction": 0.02},
}
"""Less than the defaults do, so that two workers need less than 20 minutes for a million rows: smaller blocks and
leaves, less overlap, numbers as they are, and 2 % of the rows held out, which train nothing."""


def friedman_rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n rows of 50 columns and Friedman's function of the first five with noise of deviation 1 (1991)."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, COLUMNS))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    return X, y + rng.normal(size=n)


def same(arguments: argparse.Namespace, workers: int) -> dict[str, Any]:
    """Return checksums of M and of predictions with so many workers."""
    X, y = friedman_rows(2000 if arguments.quick else SAME_ROWS, arguments.seed)
    with cluster(workers) as service:
        dataset = service.upload(X, y, classes=False)
        service.run(_body(dataset, rows=2000, learn=4, leaf=2000))
        predictions = service.predict("scale", dataset)
        return {
            "matrix": hashlib.sha256(service.matrix("scale")).hexdigest(),
            "predictions": hashlib.sha256(np.ascontiguousarray(predictions).tobytes()).hexdigest(),
        }


def friedman(arguments: argparse.Namespace, method: str, n: int, workers: int) -> dict[str, Any]:
    """Return the error, time and memory of a method on n rows."""
    X, y = friedman_rows(n + TEST_ROWS, arguments.seed)
    if method != "ours":
        cut = n - int(VALIDATION_SHARE * n)
        task = Task(X[:cut], y[:cut], X[cut:n], y[cut:n], X[n:], y[n:], None)
        answers, seconds, gib = _peer(method, task)
        return {"rmse": None if answers is None else _rmse(answers, y[n:]), "s": seconds, "gib": gib}
    with cluster(workers) as service:
        dataset, unseen = service.upload(X[:n], y[:n], classes=False), service.upload(X[n:], y[n:], classes=False)
        job, seconds = service.run({**_body(dataset), **FRIEDMAN})
        peak = service.peak()
        features = service.client.get("/v1/models/scale/features").raise_for_status().json()
        matrix = pd.read_csv(io.BytesIO(service.matrix("scale")), index_col=0)
        diagonal = pd.Series(np.diag(matrix.to_numpy()), matrix.columns).sort_values(ascending=False)
        return {
            "rmse": _rmse(service.predict("scale", unseen), y[n:]),
            "s": seconds,
            "gib": peak,
            "top": list(diagonal.index[:5]),
            "importance": [entry["feature"] for entry in features["importance"][:5]],
            "solver": service.model("scale")["solver"],
            "parts": [{name: part[name] for name in ("kind", "round", "seconds")} for part in service.parts(job["id"])],
        }


def tables(arguments: argparse.Namespace, name: str, method: str) -> dict[str, Any]:
    """Return the error and time of a method on a real table with all its training rows, or on drawn ones."""
    task = _table(arguments, name)
    most = BLOCK_ROWS if method == "one block" else FEW_ROWS if method.endswith(FEW) else len(task.X) + len(task.X_val)
    kept = most / (len(task.X) + len(task.X_val))
    if kept < 1:
        rng = np.random.default_rng(arguments.seed)
        train, val = (rng.permutation(rows)[: round(kept * rows)] for rows in (len(task.X), len(task.X_val)))
        task = replace(task, X=task.X[train], y=task.y[train], X_val=task.X_val[val], y_val=task.y_val[val])
    method = method.removesuffix(FEW)
    if method in METHODS:
        too_many = method == "xRFM" and len(task.X) > XRFM_ROWS
        answers, seconds, gib = (None, math.nan, math.nan) if too_many else _peer(method, task)
        error = None if answers is None else task.error(answers)
        return {"error": error, "s": seconds, "gib": gib, "rows": len(task.X)}
    X, y = np.concatenate([task.X, task.X_val]), np.concatenate([task.y, task.y_val])
    options = {"solver": "blocks" if method == "blocks" else "cholesky", "validation": len(task.X_val) / len(X)}
    with cluster(2) as service:
        return {**_fitted(service, X, y, task, options), "rows": len(X)}


def curve(arguments: argparse.Namespace, _: str, n: int) -> dict[str, Any]:
    """Return the error of blocks on n rows of a made table."""
    X, y = friedman_rows(n + TEST_ROWS, arguments.seed)
    nothing = X[:0], y[:0]
    task = Task(X[:n], y[:n], *nothing, X[n:], y[n:], None)
    with cluster(2) as service:
        return _fitted(service, X[:n], y[:n], task, {"solver": "blocks", "validation": VALIDATION_SHARE})


def search(arguments: argparse.Namespace, trials: int, workers: int) -> dict[str, Any]:
    """Return the time of a search, and its best trial."""
    X, y = friedman_rows(SEARCH_ROWS, arguments.seed)
    with cluster(workers) as service:
        dataset = service.upload(X, y, classes=False)
        job, seconds = service.run(
            {"kind": "tune", "dataset": dataset, "target": "y", "model": "best", "search": {"trials": trials}}
        )
        found = service.client.get(f"/v1/jobs/{job['id']}/trials").raise_for_status().json()
        best = found["trials"][found["best"] - 1]
        return {"s": seconds, "best": json.dumps({"trial": best["trial"], **best["params"]}, sort_keys=True)}


def predictions(arguments: argparse.Namespace, n: int) -> dict[str, Any]:
    """Return how quickly a tree's model answers, alone and in many rows, and what the API then holds."""
    X, y = friedman_rows(n + TEST_ROWS, arguments.seed)
    with cluster(2) as service:
        dataset, unseen = service.upload(X[:n], y[:n], classes=False), service.upload(X[n:], y[n:], classes=False)
        service.run({**_body(dataset), **FRIEDMAN})
        _, took = service.run({"kind": "predict", "model": "scale", "dataset": unseen})
        by_job = TEST_ROWS / took
        names = [f"x{place}" for place in range(COLUMNS)]
        before = service.api()
        seconds = []
        for row in X[n : n + 300]:
            body = {"rows": [dict(zip(names, row.tolist(), strict=True))]}
            began = time.perf_counter()
            service.client.post("/v1/models/scale/predict", json=body).raise_for_status()
            seconds.append(time.perf_counter() - began)
        warm = np.sort(seconds[len(seconds) // 3 :])
        bodies = [
            {"rows": [dict(zip(names, row.tolist(), strict=True)) for row in X[n + k : n + k + 1000]]}
            for k in (0, 1000)
        ]
        began = time.perf_counter()
        for body in bodies:
            service.client.post("/v1/models/scale/predict", json=body).raise_for_status()
        by_request = 2000 / (time.perf_counter() - began)
        return {
            "solver": service.model("scale")["solver"],
            "rows a second, by a job": by_job,
            "rows a second, by requests of 1000": by_request,
            "one row, median ms": 1000 * float(np.median(warm)),
            "one row, p99 ms": 1000 * float(warm[int(0.99 * len(warm))]),
            "MiB of the model": service.model("scale")["bytes"] / 2**20,
            "MiB of the API before": before,
            "MiB of the API after": service.api(),
            "most GiB of a training process": service.peak(),
        }


def simulated(parts: list[dict[str, Any]], rest: float, workers: int) -> float:
    """Return the seconds that a job takes with so many workers: rounds one after another, parts in their order."""
    total = rest
    for number in sorted({part["round"] for part in parts}):
        free = [0.0] * workers
        for part in (part for part in parts if part["round"] == number):
            heapq.heapreplace(free, free[0] + part["seconds"])
        total += max(free)
    return total


def _body(dataset: str, **blocks: float) -> dict[str, Any]:
    return {
        "kind": "fit",
        "dataset": dataset,
        "target": "y",
        "model": "scale",
        "validation": {"fraction": VALIDATION_SHARE},
        "spec": {"solver": "blocks", "blocks": blocks},
    }


def _fitted(service: Cluster, X: np.ndarray, y: np.ndarray, task: Task, options: dict[str, Any]) -> dict[str, Any]:
    classes = task.classes is not None
    dataset = service.upload(X, y, classes=classes)
    body = {**_body(dataset), "validation": {"fraction": options["validation"]}, "spec": {"solver": options["solver"]}}
    _, seconds = service.run({**body, "task": "classification" if classes else "regression"})
    answers = service.predict("scale", service.upload(task.X_test, task.y_test, classes=classes))
    return {"error": task.error(answers.astype(np.int64) if classes else answers.astype(float)), "s": seconds}


def _table(arguments: argparse.Namespace, name: str) -> Task:
    """Return a stored table with its own split, or flights with a drawn one: a tenth validates, 20,000 rows test."""
    if name == "flights":
        X, y = _flights(arguments)
        order = np.random.default_rng(arguments.seed).permutation(len(X))
        test, val, train = np.split(order, [TEST_ROWS, TEST_ROWS + len(X) // 10])
    else:
        stored = np.load(arguments.data / f"{name}.npz", allow_pickle=False)
        X, y = stored["X"].astype(np.float64), stored["y"]
        train, val, test = (stored[f"{part}_idx"] for part in ("train", "val", "test"))
    if arguments.quick:
        train, val, test = train[:1500], val[:1500], test[:1500]
    classes = None
    if y.dtype.kind == "i":
        known = np.unique(y[train])
        val = val[np.isin(y[val], known)]
        classes = len(known)
        # a test row of a class that no row trains is wrong whatever is answered
        codes = np.full(int(y.max()) + 1, -1)
        codes[known] = np.arange(classes)
        y = codes[y]
    y = y.astype(np.int64 if classes else np.float64)
    return Task(X[train], y[train], X[val], y[val], X[test], y[test], classes)


def _flights(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return arrival delays of flights and what is known before they start; texts as their number by frequency."""
    frame = pd.read_csv(arguments.flights)
    frame = frame[frame["arr_delay"].notna()]
    y = frame.pop("arr_delay").to_numpy(dtype=np.float64)
    frame = frame.drop(columns=[name for name in FLIGHTS_DROPPED if name in frame])
    for name in frame.columns:
        if frame[name].dtype.kind not in "if":
            codes = {value: place for place, value in enumerate(frame[name].value_counts().index)}
            frame[name] = frame[name].map(codes)
    return frame.to_numpy(dtype=np.float64), y


def _peer(method: str, task: Task) -> tuple[np.ndarray | None, float, float]:
    """Return answers to the test rows, None where the limit was reached, seconds, and the most GiB of its process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            return pool.apply_async(_answered, (method, task)).get(LIMIT_SECONDS)
        except multiprocessing.TimeoutError:
            return None, LIMIT_SECONDS, math.nan


def _answered(method: str, task: Task) -> tuple[np.ndarray, float, float]:
    began = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        answers = METHODS[method](task)(task.X_test)
    return answers, time.perf_counter() - began, memory.peak() / 2**30


def _rmse(answers: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(((answers.astype(float) - y) ** 2).mean()))
