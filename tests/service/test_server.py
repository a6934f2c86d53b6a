"""How an API process stops: first it says so, then it ends what it has. Real processes."""

import itertools
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.processes import System, valkey, wait_until


@pytest.fixture
def queue_address(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "q"
    folder.mkdir()
    with valkey(folder) as address:
        yield address


def test_a_stopping_api_says_so_first_ends_streams_and_finishes_what_it_has(tmp_path: Path, queue_address: str) -> None:
    system = System(tmp_path / "home", queue_address, drain_seconds="3")
    api = system.start_api()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    job = system.submit(dataset=system.upload(X, X[:, 0]))
    lines: list[str] = []
    followed = threading.Event()

    def follow() -> None:
        url = f"{system.client.base_url}/v1/jobs/{job}/events"
        with httpx.stream("GET", url, headers={"Accept": "text/event-stream"}, timeout=30) as stream:
            for line in stream.iter_lines():
                lines.append(line)
                followed.set()

    follower = threading.Thread(target=follow)
    follower.start()
    waiting: list[httpx.Response] = []
    body = {"kind": "fit", "dataset": system.job(job)["dataset"], "target": "y"}

    def submit_and_wait() -> None:
        headers = {"Prefer": "wait=30"}
        waiting.append(httpx.post(f"{system.client.base_url}/v1/jobs", json=body, headers=headers, timeout=30))

    waiter = threading.Thread(target=submit_and_wait)
    waiter.start()
    wait_until(lambda: followed.is_set() and len(system.client.get("/v1/jobs").json()["items"]) == 2, 20, "both go on")
    api.signal(signal.SIGTERM)
    wait_until(lambda: system.client.get("/readyz").status_code == 503, 3, "it is not ready")
    assert system.client.get("/readyz").json()["checks"]["process"]["ok"] is False
    assert system.client.get(f"/v1/jobs/{job}").status_code == 200, "it still answers"
    follower.join(10)
    waiter.join(10)
    assert any("stopping" in line for line in lines)
    assert (waiting[0].status_code, waiting[0].json()["state"]) == (202, "queued")
    assert api.stop() == 0
    system.stop()


def test_a_rolling_restart_under_load_loses_no_request(tmp_path: Path, queue_address: str) -> None:
    first = System(tmp_path / "home", queue_address, drain_seconds="1.5", requests_per_second="100000")
    second = System(tmp_path / "home", queue_address, drain_seconds="1.5", requests_per_second="100000")
    systems = [first, second]
    for system in systems:
        system.start_api()
    X = np.random.default_rng(0).normal(size=(40, 3))
    body = {"kind": "fit", "dataset": first.upload(X, X[:, 0]), "target": "y"}
    ended = threading.Event()
    answers: list[tuple[int, str]] = []
    balancer = Balancer(systems)

    def load() -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            with balancer.client() as client:
                if number % 3 == 0:
                    answer = client.post("/v1/jobs", json=body)
                    answers.append((answer.status_code, "submit"))
                else:
                    answers.append((client.get("/v1/jobs", params={"limit": 1}).status_code, "list"))

    clients = [threading.Thread(target=load) for _ in range(3)]
    watcher = threading.Thread(target=balancer.watch, args=(ended,))
    for thread in [*clients, watcher]:
        thread.start()
    try:
        for system in systems:
            assert system.api is not None
            assert system.api.stop() == 0
            system.start_api()
            wait_until(lambda: len(balancer.ready) == 2, 20, "both are ready")
    finally:
        ended.set()
        for thread in [*clients, watcher]:
            thread.join()
    assert {status for status, _ in answers} == {200, 202}
    submitted = sum(kind == "submit" for _, kind in answers)
    found, after = 0, None
    while True:
        page = first.client.get("/v1/jobs", params={"limit": 200, **({"after": after} if after else {})}).json()
        found, after = found + len(page["items"]), page["next"]
        if after is None:
            break
    assert found == submitted > 0
    for system in systems:
        system.stop()


class Balancer:
    """Sends each request to a process that has lately said that it is ready."""

    def __init__(self, systems: list[System]) -> None:
        self._systems = systems
        self.ready = list(systems)
        self._turn = itertools.count()

    def client(self) -> httpx.Client:
        ready = self.ready
        system = ready[next(self._turn) % len(ready)]
        return httpx.Client(base_url=system.client.base_url, timeout=30)

    def watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.2):
            self.ready = [system for system in self._systems if _is_ready(system)] or self.ready


def _is_ready(system: System) -> bool:
    try:
        return httpx.get(f"{system.client.base_url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
