"""Predictions over HTTP: how much the way to the model and back costs, and what computing them together is worth.

Two API processes serve the same models from one home: one computes predictions that arrive together together, the
other each alone (FACTRFM_PREDICT_BATCH_ROWS=1). Both, the load generator and, if asked for, BentoML with adaptive
batching around the same exported model share the machine's cores; they are asked in turn, in every round each once.
A client has one connection and sends its next request of one row when the last one is answered. Seconds of processor
are those of all processes of a server; unlike the clock they do not count who else used the machine.
"""

import argparse
import asyncio
import io
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import torch

from benchmarks.connection import request
from benchmarks.load import Service, closed_loop, started
from benchmarks.report import Cell, Report
from benchmarks.serving_peer import Peer
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack
from worker.tables.rows.table_rows import RowReader

CLIENTS = (1, 16, 64)
CATEGORIES = {"a": 5, "b": 12}


@dataclass(frozen=True)
class Size:
    """Training rows, and numeric columns beside the two of categories."""

    rows: int
    numeric: int

    @property
    def title(self) -> str:
        return f"{self.rows} training rows, {self.numeric + len(CATEGORIES)} columns"


SIZES = {"small": Size(5_000, 18), "large": Size(20_000, 18), "wide": Size(20_000, 98)}
SPEC = {"iterations": 2, "encoding": "plain", "exponent": 1.3, "ridge": 0.001, "feature_matrix": "full", "solver": "cg"}
"""Fixed: a choice between ways to fit 20,000 rows, or a factorisation, takes minutes and changes nothing of this."""
BARE_CALLS = 300
BARE = "ServedModel.predict of the row's table, in-process"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each load of a round lasts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", type=Path, help="Python of an environment with BentoML and what a model needs")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    rounds, seconds = (1, 0.5) if arguments.quick else (arguments.rounds, arguments.seconds)
    sizes = {"small": Size(500, 18)} if arguments.quick else SIZES
    with tempfile.TemporaryDirectory(prefix="factrfm-serving-") as text, started(Path(text), postgres=False) as service:
        folder = Path(text)
        for name, size in sizes.items():
            _train(service, folder, name, size, arguments.seed)
        service.worker.stop()
        alone = Service(folder / "alone", None, FACTRFM_HOME=str(folder / "home"), FACTRFM_PREDICT_BATCH_ROWS="1")
        try:
            alone.start()
            for name, size in sizes.items():
                wires = _wires(name, size)
                for title, *table in measure(
                    service, alone, folder, name, wires, rounds, seconds, arguments.peer_python
                ):
                    report.table(f"{title}; {name} model, {size.title}", *table)
        finally:
            alone.stop()
    if arguments.peer_python is None:
        report.note("The peer was left out: no --peer-python was given.")


@dataclass(frozen=True)
class Way:
    """A way to ask for one row: a request, and who answers it."""

    port: int
    pid: int
    wire: bytes

    def load(self, clients: int, seconds: float) -> "Load":
        before, own = _processor(self.pid), time.process_time()
        found = asyncio.run(closed_loop(self.port, clients, seconds, self.wire, 200))
        own = (time.process_time() - own) / len(found.times)
        return Load(found.times, found.rate, (_processor(self.pid) - before) / len(found.times), own)


@dataclass(frozen=True)
class Load:
    """What came of one load. ``processor`` and ``generator``: seconds of processor a request, of server and client."""

    times: list[float]
    rate: float
    processor: float
    generator: float


def measure(
    together: Service,
    alone: Service,
    folder: Path,
    name: str,
    wires: Mapping[str, bytes],
    rounds: int,
    seconds: float,
    python: Path | None,
) -> list[tuple[str, list[str], list[list[Cell]]]]:
    """Return the tables of one model."""
    path = folder / f"{name}.safetensors"
    ways = {f"HTTP, {form}": Way(together.port, together.api.pid, wire) for form, wire in wires.items()}
    arms = {"together": ways["HTTP, JSON"], "alone": Way(alone.port, alone.api.pid, wires["JSON"])}
    peer = None if python is None else Peer(python, folder, path)
    try:
        if peer is not None:
            peer.start()
            arms["BentoML"] = Way(peer.port, peer.pid, peer.wire(wires["JSON"]))
        for arm in list(arms)[1:]:
            ways[f"HTTP, JSON, {arm}"] = arms[arm]
        for way in ways.values():
            way.load(4, min(seconds, 1.0))
        return [_one_row(path, wires["JSON"], ways, rounds, seconds), _many(arms, rounds, seconds)]
    finally:
        if peer is not None:
            peer.stop()


def _one_row(
    path: Path, wire: bytes, ways: Mapping[str, Way], rounds: int, seconds: float
) -> tuple[str, list[str], list[list[Cell]]]:
    """Compare the ways to ask for one row with the computation that they all end in."""
    calls = _bare(path, wire) | {name: partial(way.load, 1, seconds) for name, way in ways.items()}
    found: dict[str, list[Load]] = defaultdict(list)
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(call())
    times = {name: [one for load in loads for one in load.times] for name, loads in found.items()}
    processor = {name: float(np.median([load.processor for load in loads])) for name, loads in found.items()}
    bare = float(np.median(times[BARE]))
    return (
        "One row, one client",
        ["way", "p50 ms", "p99 ms", "p50 over the bare call's", "processor ms", "processor over the bare call's"],
        [
            [
                name,
                *_milliseconds(times[name]),
                float(np.median(times[name])) / bare,
                processor[name] * 1000,
                processor[name] / processor[BARE],
            ]
            for name in calls
        ],
    )


def _bare(path: Path, wire: bytes) -> dict[str, Callable[[], Load]]:
    """Return the calls that everything else is compared with, of one thread as in the service."""
    model = ServedModel.from_tensors(*unpack(path.read_bytes()))
    reader = RowReader(model.features)
    rows = reader.read(wire.partition(b"\r\n\r\n")[2], "application/json", max_rows=1)
    table = reader.table(rows)
    X = torch.from_numpy(model.encoder.encode(table))

    def timed(call: Callable[[], object]) -> Load:
        torch.set_num_threads(1)
        times = []
        own = time.process_time()
        for _ in range(BARE_CALLS):
            before = time.perf_counter()
            call()
            times.append(time.perf_counter() - before)
        return Load(times, BARE_CALLS / sum(times), (time.process_time() - own) / BARE_CALLS, 0.0)

    return {
        "FittedModel.predict of the encoded row, in-process": lambda: timed(lambda: model.fitted.predict(X)),
        BARE: lambda: timed(lambda: model.predict(table)),
    }


def _many(arms: Mapping[str, Way], rounds: int, seconds: float) -> tuple[str, list[str], list[list[Cell]]]:
    """Compare the rows a second that many clients get."""
    rows: list[list[Cell]] = []
    for clients in CLIENTS:
        found: dict[str, list[Load]] = defaultdict(list)
        for _ in range(rounds):
            for arm, way in arms.items():
                found[arm].append(way.load(clients, seconds))
        for arm, loads in found.items():
            ratios = [mine.rate / other.rate for mine, other in zip(loads, found["alone"], strict=True)]
            rows.append(
                [
                    clients,
                    arm,
                    float(np.median([load.rate for load in loads])),
                    float(np.median(ratios)),
                    f"{min(ratios):.2f}–{max(ratios):.2f}",
                    *_milliseconds([one for load in loads for one in load.times]),
                    float(np.median([load.processor for load in loads])) * 1000,
                    float(np.median([load.generator for load in loads])) * 1000,
                ]
            )
    columns = ["clients", "computed", "rows/s", "over alone", "least and most", "p50 ms", "p99 ms"]
    return "One row a request, JSON", [*columns, "processor ms a row", "of the generator"], rows


def _processor(pid: int) -> float:
    """Return the seconds of processor that a process and its children have taken."""
    first = psutil.Process(pid)
    times = [process.cpu_times() for process in (first, *first.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _milliseconds(times: list[float]) -> list[Cell]:
    return [float(np.quantile(times, q)) * 1000 for q in (0.5, 0.99)]


def _table(rows: int, numeric: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, numeric))
    codes = {name: rng.integers(0, count, rows) for name, count in CATEGORIES.items()}
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * (codes["a"] == 2) * X[:, 3] + 0.2 * codes["b"]
    columns: dict[str, Any] = {f"x{index}": X[:, index] for index in range(numeric)}
    # digits, so that an NPY matrix can name them too, and declared to be categories, or they would be numbers
    columns |= {name: pa.array(map(str, found)).dictionary_encode() for name, found in codes.items()}
    return pa.table({**columns, "y": y + 0.1 * rng.normal(size=rows)})


def _train(service: Service, folder: Path, name: str, size: Size, seed: int) -> None:
    """Have the service train a model, and keep what it exports."""
    path = folder / f"{name}.parquet"
    pq.write_table(_table(size.rows, size.numeric, seed), path)
    dataset = service.upload(path, "application/vnd.apache.parquet")
    if not service.worker.alive():
        service.worker.start()
    job = service.submit({"kind": "fit", "dataset": dataset, "target": "y", "model": name, "spec": SPEC}, wait=60)
    while job["state"] in ("queued", "running"):
        time.sleep(1)
        job = service.client.get(f"/v1/jobs/{job['id']}").json()
    assert job["state"] == "succeeded", job
    (folder / f"{name}.safetensors").write_bytes(service.client.get(f"/v1/models/{name}/export").content)


def _wires(name: str, size: Size) -> dict[str, bytes]:
    """Return one row as requests in every form, all of which are answered alike."""
    row = _table(1, size.numeric, seed=10_000).drop_columns("y")
    matrix = np.array([[float(column[0].as_py()) for column in row.columns]])
    place = f"/v1/models/{name}/predict"
    stream, npy = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, row.schema) as writer:
        writer.write_table(row)
    np.save(npy, matrix, allow_pickle=False)
    asked = {
        "inputs": [
            {
                "name": "X",
                "shape": list(matrix.shape),
                "datatype": "FP64",
                "parameters": {"binary_data_size": matrix.nbytes},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(asked).encode()
    arrow = "application/vnd.apache.arrow.stream"
    return {
        "JSON": request("POST", place, json.dumps({"rows": row.to_pylist()}).encode()),
        "Arrow": request("POST", place, stream.getvalue(), arrow, Accept=arrow),
        "NPY": request("POST", place, npy.getvalue(), "application/x-npy", Accept="application/x-npy"),
        "/v2 binary": request(
            "POST",
            f"/v2/models/{name}/infer",
            head + matrix.tobytes(),
            "application/octet-stream",
            Inference_Header_Content_Length=str(len(head)),
        ),
    }
