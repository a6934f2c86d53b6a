"""Kill, stop and empty things: every accepted job still ends once, with the same result."""

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import redis
from support.processes import System, wait_until

Start = Callable[..., System]
SLOW: dict[str, Any] = {"ridge": 0.01, "iterations": 8}


def _slow_table(system: System) -> str:
    """Upload a table on which an iteration takes a few tenths of a second."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 40))
    return system.upload(X, X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=3000))


def _probe() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(50, 40))


def _children(worker_pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(worker_pid).children() if "worker.runs" in " ".join(child.cmdline())]


def _undisturbed(system: System, dataset: str) -> list[float]:
    job = system.wait(system.submit(dataset=dataset, spec=SLOW))
    return list(system.predict(job["model"], _probe())["predictions"])


def test_a_killed_worker_loses_no_job_and_the_result_is_the_same(start_system: Start, empty_database_url: str) -> None:
    system = start_system(empty_database_url, workers=1)
    dataset = _slow_table(system)
    expected = _undisturbed(system, dataset)
    job = system.submit(dataset=dataset, spec=SLOW, model="kept")
    system.wait_for_iteration(job, 3)
    [child] = _children(system.workers[0].pid)
    system.workers[0].kill()
    system.start_worker()
    ended = system.wait(job, 60)
    assert ended["state"] == "succeeded", ended["error"]
    assert ended["attempt"] == 2
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    log = [event["data"]["message"] for event in system.events(job) if event["type"] == "log"]
    assert any("going on from the checkpoint" in message for message in log), log
    models = system.client.get("/v1/models?name=kept").json()["items"]
    assert [model["version"] for model in models] == [1]
    assert system.predict("kept", _probe())["predictions"] == expected


def test_flushing_redis_loses_no_queued_job(start_system: Start, queue_address: str) -> None:
    system = start_system(workers=0)
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 3))
    dataset = system.upload(X, X[:, 0])
    jobs = [system.submit(dataset=dataset, spec={"iterations": 1, "seed": seed}) for seed in range(20)]
    with redis.Redis(unix_socket_path=queue_address.removeprefix("redis+socket://")) as client:
        client.flushall()
    system.start_worker()
    system.start_worker()
    ended = [system.wait(job, 60) for job in jobs]
    assert {job["state"] for job in ended} == {"succeeded"}
    assert {job["attempt"] for job in ended} == {1}
    assert len({job["model"] for job in ended}) == 20


def test_a_running_job_is_cancelled_within_seconds_and_can_be_retried(start_system: Start) -> None:
    system = start_system()
    dataset = _slow_table(system)
    expected = _undisturbed(system, dataset)
    job = system.submit(dataset=dataset, spec=SLOW)
    system.wait_for_iteration(job, 2)
    assert system.client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    assert system.wait(job, 5)["state"] == "cancelled"
    assert system.client.post(f"/v1/jobs/{job}/cancel").status_code == 409
    assert system.client.post(f"/v1/jobs/{job}/retry").status_code == 202
    ended = system.wait(job, 60)
    assert ended["state"] == "succeeded", ended["error"]
    assert system.predict(ended["model"], _probe())["predictions"] == expected
    first = [event["data"]["iteration"] for event in system.events(job) if event["type"] == "iteration"]
    assert first == list(range(9)), "the retry went on after the checkpoint, so no iteration ran twice"


def test_a_stopped_worker_gives_its_job_back_at_once(start_system: Start) -> None:
    system = start_system(workers=2, lease_seconds="60")
    job = system.submit(dataset=_slow_table(system), spec=SLOW)
    system.wait_for_iteration(job, 1)
    owner = next(worker for worker in system.workers if job in worker.log.read_text())
    owner.stop()
    ended = system.wait(job, 40)
    assert ended["state"] == "succeeded", ended["error"]
    reasons = [event["data"].get("reason") for event in system.events(job) if event["type"] == "state"]
    assert "the worker was stopped" in reasons


def test_a_worker_that_sleeps_past_its_lease_can_write_nothing_that_counts(start_system: Start) -> None:
    system = start_system(workers=1)
    job = system.submit(dataset=_slow_table(system), spec=SLOW, model="fenced")
    system.wait_for_iteration(job, 2)
    sleeper = system.workers[0]
    [child] = _children(sleeper.pid)
    os.kill(child.pid, signal.SIGSTOP)
    sleeper.signal(signal.SIGSTOP)
    system.start_worker()
    ended = system.wait(job, 60)
    assert ended["state"] == "succeeded", ended["error"]
    sleeper.signal(signal.SIGCONT)
    os.kill(child.pid, signal.SIGCONT)
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 20, "the old child is ended")
    assert len(system.client.get("/v1/models?name=fenced").json()["items"]) == 1
    assert system.job(job) == ended


def test_a_child_that_dies_again_and_again_fails_the_job_with_the_signal(start_system: Start) -> None:
    system = start_system()
    job = system.submit(dataset=_slow_table(system), spec={**SLOW, "iterations": 500})
    killed: set[int] = set()

    def kill_next() -> bool:
        for child in _children(system.workers[0].pid):
            if child.pid not in killed and system.job(job)["state"] == "running":
                killed.add(child.pid)
                child.kill()
        return system.job(job)["state"] == "failed"

    wait_until(kill_next, 60, "the job fails")
    error = system.job(job)["error"]
    assert error["type"] == "worker_lost"
    assert "SIGKILL" in error["detail"]
    assert len(killed) == 3


def test_a_fit_that_runs_out_of_memory_fails_alone_with_both_figures(start_system: Start) -> None:
    system = start_system(workers=1)
    small = _slow_table(system)
    quick = {"ridge": 0.01, "iterations": 0}
    system.wait(system.submit(dataset=small, spec=quick))
    [child] = _children(system.workers[0].pid)
    rng = np.random.default_rng(6)
    X = rng.normal(size=(9000, 3))  # of which a fifth validates
    large = system.upload(X, X[:, 0])
    # what is held now and 300 MiB more; the kernel matrix of 7200 rows takes 396
    status = Path(f"/proc/{child.pid}/status").read_text()
    held = int(status.partition("VmData:")[2].split()[0])
    bound = held * 1024 + 300 * 2**20
    resource.prlimit(child.pid, resource.RLIMIT_DATA, (bound, bound))
    spec = {**quick, "precision": "float64", "solver": "cholesky", "encoding": "plain"}
    failed = system.wait(system.submit(dataset=large, spec=spec))
    assert (failed["state"], failed["error"]["type"]) == ("failed", "out_of_memory"), failed
    assert "414720000 bytes" in failed["error"]["detail"]
    assert f"estimated to take {failed['estimate']['bytes'] / 2**30:.2f} GiB" in failed["error"]["detail"]
    assert system.wait(system.submit(dataset=small, spec={**quick, "seed": 1}))["state"] == "succeeded"
    assert [one.pid for one in _children(system.workers[0].pid)] == [child.pid]


def test_the_api_can_die_while_a_job_runs(start_system: Start) -> None:
    system = start_system()
    job = system.submit(dataset=_slow_table(system), spec=SLOW)
    system.wait_for_iteration(job, 1)
    assert system.api is not None
    system.api.kill()
    system.start_api()
    assert system.wait(job, 60)["state"] == "succeeded"


def test_a_batch_is_accepted_whole_and_ends_whole(start_system: Start) -> None:
    system = start_system(workers=2)
    rng = np.random.default_rng(4)
    X = rng.normal(size=(80, 4))
    dataset = system.upload(X, X[:, 0])
    body = {
        "base": {"kind": "fit", "dataset": dataset, "target": "y"},
        "grid": {"spec.ridge": [0.01, 0.1, 1], "spec.kernel": ["laplace", "gaussian"]},
    }
    answer = system.client.post("/v1/batches", json=body)
    assert answer.status_code == 202, answer.text
    batch = answer.headers["location"]
    wait_until(lambda: system.client.get(batch).json()["counts"]["succeeded"] == 6, 60, "the batch ends")
    wrong = [{"kind": "fit", "dataset": dataset, "target": "y"}, {"kind": "fit", "dataset": dataset, "target": "z"}]
    lines = "\n".join(json.dumps(line) for line in wrong)
    before = len(system.client.get("/v1/jobs?limit=200").json()["items"])
    refused = system.client.post("/v1/batches", content=lines, headers={"Content-Type": "application/jsonl"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/1/target"
    assert len(system.client.get("/v1/jobs?limit=200").json()["items"]) == before


@pytest.mark.parametrize("times", [5])
def test_duplicate_messages_start_nothing_twice(start_system: Start, times: int, queue_address: str) -> None:
    from worker.environment.job_queue import JobQueue

    system = start_system(workers=2)
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 3))
    job = system.submit(dataset=system.upload(X, X[:, 0]), spec={"iterations": 1})
    queue = JobQueue(queue_address, system.environment["FACTRFM_QUEUE"])
    for _ in range(times):
        queue.send(job)
    queue.close()
    ended = system.wait(job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
