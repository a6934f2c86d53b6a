"""A worker's health is the worker's own: idle, busy and cut off from everything it is well; stopped it is not."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.postgres import PostgresServer, find_binaries
from support.processes import Process, System, valkey, wait_until

Start = Callable[..., System]


def check(system: System, *flags: str) -> tuple[int, str]:
    """Run the check as a container does; returns its code and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "service", "check", "--worker", *flags],
        env={**os.environ, **system.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


def well(system: System) -> bool:
    return check(system) == (0, "")


def test_a_worker_loads_its_training_process_before_the_first_job(start_system: Start) -> None:
    worker = start_system(workers=0).start_worker()

    def loaded() -> bool:
        return any("worker.runs" in child.cmdline() for child in psutil.Process(worker.pid).children())

    wait_until(loaded, 60, "the training process is started")


def test_a_worker_is_well_idle_and_busy_and_ill_while_it_is_stopped(start_system: Start) -> None:
    system = start_system(workers=0)
    code, said = check(system)
    assert (code, "no worker runs here" in said) == (1, True)
    worker = system.start_worker()
    wait_until(lambda: well(system), 60, "an idle worker is well")
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 40))
    job = system.submit(dataset=system.upload(X, X[:, 0]), spec={"ridge": 0.01, "iterations": 30})
    system.wait_for_iteration(job, 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert well(system), "a busy worker is well"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.2
    worker.signal(signal.SIGSTOP)
    wait_until(lambda: not well(system), 40, "a stopped worker is ill")
    assert f"the worker of process {worker.pid} gave no sign of life" in check(system)[1]
    worker.signal(signal.SIGCONT)
    wait_until(lambda: well(system), 20, "a worker that goes on is well")
    worker.kill()
    code, said = check(system)
    assert (code, "no worker runs here" in said) == (1, True)


def test_a_worker_that_waits_for_its_database_is_well_and_not_ready(start_system: Start) -> None:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    server = PostgresServer(binaries)
    try:
        system = start_system(server.url(server.create()), workers=1)
        wait_until(lambda: well(system), 60, "it is well")
        assert check(system, "--ready") == (0, "")
        rng = np.random.default_rng(1)
        X = rng.normal(size=(3000, 40))
        job = system.submit(dataset=system.upload(X, X[:, 0]), spec={"ridge": 0.01, "iterations": 500})
        system.wait_for_iteration(job, 1)
    finally:
        server.stop()
    worker = system.workers[0]
    wait_until(lambda: "database out of reach" in worker.log.read_text(), 30, "a report waits for the database")
    assert well(system)
    code, said = check(system, "--ready")
    assert (code, "the database" in said) == (1, True)
    wait_until(lambda: '"outcome": "lease lost"' in worker.log.read_text(), 30, "the job is given up")
    assert well(system)


def test_a_worker_whose_queue_goes_away_is_well(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="factrfm-q-") as folder, valkey(Path(folder)) as address:
        system = System(tmp_path / "cut-off", address, queue=tmp_path.name)
        worker = system.start_worker()
        wait_until(lambda: well(system), 60, "it is well")
    try:
        wait_until(lambda: "Cannot connect to redis" in worker.log.read_text(), 30, "it notices")
        assert well(system)
    finally:
        system.stop()


HANGS = """
import signal, time
from worker import app
from worker.shell import liveness
liveness.MAX_LOOP_SECONDS = 3
signal.signal(signal.SIGALRM, lambda *_: time.sleep(600))
app.main()
"""


def test_a_worker_that_takes_no_message_any_more_is_ill(queue_address: str, tmp_path: Path) -> None:
    system = System(tmp_path / "hangs", queue_address, queue=tmp_path.name)
    worker = Process([sys.executable, "-c", HANGS], tmp_path / "worker.log", system.environment)
    try:
        wait_until(lambda: " ready." in worker.log.read_text(), 60, "it waits for messages")
        assert well(system)
        worker.signal(signal.SIGALRM)
        wait_until(lambda: not well(system), 30, "it is ill")
        assert f"the worker of process {worker.pid} hangs: its loop of messages stands still" in check(system)[1]
    finally:
        worker.kill()
        system.client.close()
