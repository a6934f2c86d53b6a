"""A whole service with some workers of one thread each, the jobs that it runs, and what their processes hold."""

import io
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import memory
from service.local.embedded import private_service

FINAL = ("succeeded", "failed", "cancelled")
PROBE_SECONDS = 2.0
"""Between two looks at the job and at the processes: looks take time of the cores that are measured."""
SETTINGS = {"FACTRFM_THREADS": "1", "FACTRFM_MAX_PREDICT_ROWS": "1000000"}


@dataclass
class Cluster:
    """``parent``: the process that started all others. ``peaks``: the most bytes of every training process."""

    client: httpx.Client
    parent: psutil.Process
    peaks: dict[int, int] = field(default_factory=dict)

    def upload(self, X: np.ndarray, y: np.ndarray, *, classes: bool) -> str:
        """Return the id of a dataset with columns x0, x1, … and y, sent as Parquet."""
        columns = {f"x{place}": X[:, place] for place in range(X.shape[1])}
        target = pa.array(y.astype(str) if classes else y)
        with tempfile.TemporaryFile() as file:
            pq.write_table(pa.table({**columns, "y": target}), file)
            file.seek(0)
            answer = self.client.post(
                "/v1/datasets",
                content=iter(lambda: file.read(2**20), b""),
                headers={"Content-Type": "application/vnd.apache.parquet"},
            )
        return str(_checked(answer)["id"])

    def run(self, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Run a job to its end. Return it, and the seconds that it took by the service's clock."""
        job = _checked(self.client.post("/v1/jobs", json=body, headers={"Prefer": "wait=50"}))
        while job["state"] not in FINAL:
            time.sleep(PROBE_SECONDS)
            job = _checked(self.client.get(f"/v1/jobs/{job['id']}"))
        if job["state"] != "succeeded":
            raise RuntimeError(f"{job['id']} {job['state']}: {job['error']}")
        ended, created = (datetime.fromisoformat(job[name]) for name in ("finished_at", "created_at"))
        return job, (ended - created).total_seconds()

    def model(self, name: str) -> dict[str, Any]:
        """Return a model."""
        return _checked(self.client.get(f"/v1/models/{name}"))

    def matrix(self, name: str) -> bytes:
        """Return M as CSV."""
        headers = {"Accept": "text/csv"}
        return self.client.get(f"/v1/models/{name}/features/matrix", headers=headers).raise_for_status().content

    def parts(self, job: str) -> list[dict[str, Any]]:
        """Return all parts of a job."""
        found: list[dict[str, Any]] = []
        query: dict[str, str] = {"limit": "200"}
        while True:
            page = _checked(self.client.get(f"/v1/jobs/{job}/parts", params=query))
            found += page["items"]
            if page["next"] is None:
                return found
            query["after"] = page["next"]

    def predict(self, name: str, dataset: str) -> np.ndarray:
        """Return the predictions of a model for a dataset, by a job."""
        job, _ = self.run({"kind": "predict", "model": name, "dataset": dataset, "format": "parquet"})
        content = self.client.get(f"/v1/jobs/{job['id']}/result").raise_for_status().content
        table = pq.read_table(io.BytesIO(content))
        return np.asarray(table.column(0).to_numpy(zero_copy_only=False))

    def api(self) -> float:
        """Return the MiB that the API holds."""
        [api] = (process for process in self.parent.children() if "serve" in process.cmdline())
        return memory.resident(api.pid) / 2**20

    def peak(self) -> float:
        """Return the most GiB that any training process has held."""
        return max(self.peaks.values(), default=0) / 2**30


@contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """Run a service with so many workers during the block."""
    ended = threading.Event()
    with (
        private_service(print, workers, SETTINGS) as (address, up),
        httpx.Client(base_url=address, timeout=1800) as client,
    ):
        found = Cluster(client, psutil.Process(up.process.pid))
        watching = threading.Thread(target=_watch, args=(found, ended))
        watching.start()
        try:
            yield found
        finally:
            ended.set()
            watching.join()


def _watch(service: Cluster, ended: threading.Event) -> None:
    """Note the peaks of all training processes of a service, as Linux tells them, until the end."""
    while not ended.wait(PROBE_SECONDS):
        for process in service.parent.children(recursive=True):
            try:
                if "worker.runs" in process.cmdline():
                    service.peaks[process.pid] = memory.peak(process.pid)
            except (psutil.Error, OSError, RuntimeError):
                continue


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise RuntimeError(answer.text)
    found: dict[str, Any] = answer.json()
    return found
