"""What a dry run says that a job will take, and what it then takes: how good `estimate.seconds` is.

A whole service trains on drawn tables of n rows and d columns, one job at a time. `auto` chooses its own options.
"""

import argparse
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import numpy as np

from benchmarks.report import Cell, Report
from service.local.embedded import private_service

SIZES = ((100, 4), (500, 10), (1000, 50), (2000, 10), (2000, 200), (4000, 20))
QUICK_SIZES = ((100, 4),)
LARGEST_AUTO = 2000
PLAIN = {"encoding": "plain", "feature_matrix": "full", "exponent": 1}
NETWORK = {"steps": 200, "hidden": [64, 64]}
FINAL = ("succeeded", "failed", "cancelled")


def add_options(parser: argparse.ArgumentParser) -> None:
    """This benchmark has no options of its own."""
    del parser


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    rows: list[list[Cell]] = []
    with private_service(print) as (address, _), httpx.Client(base_url=address, timeout=60) as client:
        # the first job of a worker waits for its process
        _measure(client, {"kind": "fit", "spec": PLAIN, **_table(client, 50, 2, arguments.seed)})
        for n, d in QUICK_SIZES if arguments.quick else SIZES:
            for name, body in _bodies(client, n, d, arguments.seed):
                estimated, taken = _measure(client, body)
                rows.append([name, n, d, estimated, taken, estimated / taken])
                print(*rows[-1], flush=True)
    report.table("Seconds", ["job", "n", "d", "estimated, s", "taken, s", "ratio"], rows)
    for name in dict.fromkeys(str(row[0]) for row in rows):
        ratios = sorted(float(row[5] or 0) for row in rows if row[0] == name)
        report.note(f"{name}: between {ratios[0]:.2g} and {ratios[-1]:.2g} times what it took.")


def _bodies(client: httpx.Client, n: int, d: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    table = _table(client, n, d, seed)
    yield "fit", {"kind": "fit", "spec": PLAIN, **table}
    yield "fit, one ridge", {"kind": "fit", "spec": {**PLAIN, "ridge": 0.1}, "model": f"of-{n}-{d}", **table}
    yield "network", {"kind": "network", "spec": NETWORK, **table}
    if n <= LARGEST_AUTO:
        yield "fit, auto", {"kind": "fit", "spec": {}, **table}
    if n < LARGEST_AUTO:
        yield "search", {"kind": "tune", "spec": PLAIN, "search": {"trials": 4}, **table}
    many = _table(client, 50_000, d, seed + 1)
    yield "predict 50000 rows", {"kind": "predict", "model": f"of-{n}-{d}", "dataset": many["dataset"]}


def _table(client: httpx.Client, n: int, d: int, seed: int) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    content = io.BytesIO()
    np.savez(content, X=X, y=X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=n))
    headers = {"Content-Type": "application/x-npz"}
    answer = client.post("/v1/datasets", content=content.getvalue(), headers=headers).raise_for_status()
    return {"dataset": answer.json()["id"], "target": "y", "task": "regression"}


def _measure(client: httpx.Client, body: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds that a job was estimated to take and that it took."""
    job = client.post("/v1/jobs", json=body, headers={"Prefer": "wait=50"}).raise_for_status().json()
    while job["state"] not in FINAL:
        # the stream of events ends with the job
        client.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"}, timeout=900)
        job = client.get(f"/v1/jobs/{job['id']}").json()
    if job["state"] != "succeeded":
        raise RuntimeError(f"{job['id']} {job['state']}: {job['error']}")
    began, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return job["estimate"]["seconds"], (ended - began).total_seconds()
