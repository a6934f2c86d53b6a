"""An exported model behind BentoML with adaptive batching, as its users write it, in an environment of its own."""

import json
import time
from pathlib import Path

import httpx

from benchmarks.connection import request
from benchmarks.faulting.processes import REPOSITORY, Program
from benchmarks.load import free_port

SERVICE = """\
import os
from pathlib import Path

import bentoml
import pyarrow as pa
import torch

from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack


@bentoml.service(workers=1, traffic={"max_concurrency": 1024}, metrics={"enabled": True})
class Rows:
    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.model = ServedModel.from_tensors(*unpack(Path(os.environ["MODEL"]).read_bytes()))

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=256, max_latency_ms=1000)
    def predict(self, rows: list[dict]) -> list[float]:
        return self.model.predict(pa.Table.from_pylist(rows)).predictions[:, 0].tolist()
"""


class Peer:
    """The model in ``path``, served by BentoML of ``python``."""

    def __init__(self, python: Path, folder: Path, path: Path) -> None:
        place = folder / "peer"
        place.mkdir(exist_ok=True)
        (place / "rows_service.py").write_text(SERVICE)
        self.port = free_port()
        arguments = [str(python), "-m", "bentoml", "serve", "rows_service:Rows", "--working-dir", str(place)]
        arguments += ["--host", "127.0.0.1", "--port", str(self.port)]
        environment = {
            "MODEL": str(path),
            "PYTHONPATH": str(REPOSITORY),
            "BENTOML_HOME": str(place / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
            "OMP_NUM_THREADS": "1",
        }
        self._program = Program("peer", arguments, folder / "peer.log", environment)

    @property
    def pid(self) -> int:
        return self._program.pid

    def start(self) -> None:
        self._program.start()
        ends_at = time.monotonic() + 90
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > ends_at or not self._program.alive():
                self.stop()
                raise RuntimeError(self._program.log.read_text()[-2000:])
            time.sleep(0.2)

    def stop(self) -> None:
        self._program.stop()

    def wire(self, ours: bytes) -> bytes:
        """Return our request of JSON rows as the peer reads it."""
        rows = json.loads(ours.partition(b"\r\n\r\n")[2])
        return request("POST", "/predict", json.dumps(rows).encode())
