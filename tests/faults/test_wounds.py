"""Known wounds of Celery over Redis that no other test touches. README.md beside this file has the whole list."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from support.processes import System, valkey, wait_until


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """An API whose reconciler sends nothing again: only a message that is delivered starts a job."""
    with tempfile.TemporaryDirectory(prefix="factrfm-q-") as folder:
        system = System(tmp_path / "home", f"redis+socket://{folder}/valkey.sock", resend_seconds="600")
        yield system
        system.stop()


def _folder(system: System) -> Path:
    return Path(system.environment["FACTRFM_REDIS_URL"].removeprefix("redis+socket://")).parent


def _quick(system: System) -> tuple[str, dict[str, int]]:
    X = np.random.default_rng(0).normal(size=(60, 3))
    return system.upload(X, X[:, 0]), {"iterations": 1}


def test_a_worker_that_lost_its_broker_takes_messages_again(system: System) -> None:
    """celery/celery#10302, #8091: silent after a reconnect."""
    with valkey(_folder(system)):
        system.start_api()
        dataset, spec = _quick(system)
        worker = system.start_worker()
        system.wait(system.submit(dataset=dataset, spec=spec))
    wait_until(lambda: "Connection to broker lost" in worker.log.read_text(), 30, "the worker sees that it is alone")
    with valkey(_folder(system)) as address:
        with redis.Redis(unix_socket_path=address.removeprefix("redis+socket://")) as client:
            wait_until(lambda: any(one["cmd"] == "brpop" for one in client.client_list()), 30, "the worker listens")
        job = system.wait(system.submit(dataset=dataset, spec=spec), 30)
        assert (job["state"], job["attempt"]) == ("succeeded", 1)
        assert worker.alive()
        # here and not in the fixture: a worker whose broker is gone takes long to stop
        system.stop()


def test_nothing_is_left_to_deliver_again_while_a_job_runs(system: System) -> None:
    """celery/celery#5935: a message that waits for its acknowledgement is delivered again while the task runs."""
    with valkey(_folder(system)) as address:
        system.start_api()
        system.start_worker()
        X = np.random.default_rng(1).normal(size=(3000, 40))
        job = system.submit(dataset=system.upload(X, X[:, 0]), spec={"ridge": 0.01, "iterations": 40})
        system.wait_for_iteration(job, 1)
        with redis.Redis(unix_socket_path=address.removeprefix("redis+socket://")) as client:
            assert client.hlen("unacked") == 0
            assert client.zcard("unacked_index") == 0
            assert client.llen(system.environment.get("FACTRFM_QUEUE", "factrfm")) == 0
        system.client.post(f"/v1/jobs/{job}/cancel")
        assert system.wait(job)["state"] == "cancelled"
        system.stop()


def test_a_cancel_that_no_worker_heard_is_kept(system: System) -> None:
    """celery/celery#4886: a revoke is forgotten where no worker is up."""
    with valkey(_folder(system)):
        system.start_api()
        dataset, spec = _quick(system)
        cancelled = system.submit(dataset=dataset, spec=spec)
        assert system.client.post(f"/v1/jobs/{cancelled}/cancel").json()["state"] == "cancelled"
        system.start_worker()
        assert system.wait(system.submit(dataset=dataset, spec=spec))["state"] == "succeeded"
        assert [event["data"]["state"] for event in system.events(cancelled)] == ["queued", "cancelled"]
        system.stop()


def test_the_process_that_speaks_with_the_broker_never_loads_torch() -> None:
    """pytorch/pytorch#40403: CUDA after a fork. The computation has a process of its own, started afresh."""
    program = "import sys, worker.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
