"""A worker's signs of life: who gives them is well, whoever hangs, is stopped or is not there is told so."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.clock import Clock
from support.processes import REPOSITORY, Process, wait_until

from worker.shell.liveness import MAX_LOOP_SECONDS, MessageLoop
from worker.telemetry import heartbeat

BEAT = """
import signal
import sys
from pathlib import Path
from worker.telemetry import heartbeat
heartbeat.BEAT_SECONDS = 0.05
with heartbeat.emit_heartbeats(Path(sys.argv[1]), lambda: None):
    signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the workers of a home and a queue of this test's own leave their signs."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    return heartbeat.heartbeat_folder(tmp_path / "home", "own")


@pytest.fixture
def check(tmp_path: Path, folder: Path) -> Callable[[], str | None]:
    return lambda: heartbeat.check({"FACTRFM_HOME": str(tmp_path / "home"), "FACTRFM_QUEUE": "own"})


@pytest.fixture
def start(tmp_path: Path, folder: Path) -> Iterator[Callable[[], Process]]:
    """Starts processes that give signs of life."""
    started: list[Process] = []

    def start_one() -> Process:
        program = [sys.executable, "-c", BEAT, str(folder)]
        started.append(Process(program, tmp_path / "beat.log", {"PYTHONPATH": str(REPOSITORY)}))
        path = folder / str(started[-1].pid)
        wait_until(lambda: path.exists() and bool(path.read_bytes()), 20, "it beats")
        return started[-1]

    yield start_one
    for process in started:
        if process.alive():
            process.kill()


def test_where_no_worker_runs_none_is_well(check: Callable[[], str | None]) -> None:
    assert check() == heartbeat.NO_WORKER


def test_a_worker_that_is_stopped_is_told_from_one_that_goes_on(
    check: Callable[[], str | None], start: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "MAX_SILENCE_SECONDS", 0.5)
    worker, other = start(), start()
    wait_until(lambda: check() is None, 10, "both are well")
    worker.signal(signal.SIGSTOP)
    wait_until(lambda: check() is not None, 10, "the stopped one is ill")
    assert f"the worker of process {worker.pid} gave no sign of life for" in str(check())
    worker.signal(signal.SIGCONT)
    wait_until(lambda: check() is None, 10, "both are well again")
    other.kill()
    wait_until(lambda: check() is None, 10, "a dead one is no worker")
    worker.kill()
    assert check() == heartbeat.NO_WORKER


def test_what_stands_still_inside_is_told(check: Callable[[], str | None], folder: Path) -> None:
    faults: list[str | None] = [None]
    with heartbeat.emit_heartbeats(folder, lambda: faults[0]):
        wait_until(lambda: check() is None, 10, "it is well")
        faults[0] = "it has not looked at its job for 400 s"
        wait_until(lambda: check() is not None, 10, "it is ill")
        assert check() == f"the worker of process {os.getpid()} hangs: it has not looked at its job for 400 s"
        faults[0] = None
        wait_until(lambda: check() is None, 10, "it is well again")
    assert check() == heartbeat.NO_WORKER
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"at": 5000, "fault": None}, "no sign of life"),
        ({"at": -5000, "fault": None}, "no sign of life for 5000 s"),
        (None, "has just begun"),
    ],
    ids=["before the machine started again", "long ago", "not yet"],
)
def test_what_was_written_at_another_time_is_no_sign(
    record: dict[str, float | None] | None, words: str, check: Callable[[], str | None], folder: Path
) -> None:
    folder.mkdir(parents=True)
    with (folder / "1").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if record is not None:
            json.dump({**record, "at": time.monotonic() + (record["at"] or 0)}, file)
            file.flush()
        assert words in str(check())


def test_workers_of_another_home_or_queue_are_not_asked(tmp_path: Path, folder: Path) -> None:
    with heartbeat.emit_heartbeats(folder, lambda: None):
        for home, queue in ((tmp_path / "home", "other"), (tmp_path / "elsewhere", "own")):
            asked = heartbeat.check({"FACTRFM_HOME": str(home), "FACTRFM_QUEUE": queue})
            assert asked == heartbeat.NO_WORKER
        same = {"factrfm_home": str(tmp_path / "home"), "FACTRFM_QUEUE": "own"}
        wait_until(lambda: heartbeat.check(same) is None, 10, "that of this one is well")


def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path, folder: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="somebody else"), heartbeat.emit_heartbeats(folder, lambda: None):
        pass


def test_a_check_costs_next_to_nothing(tmp_path: Path) -> None:
    """The libraries of the program take most of a second of CPU time to load: the check loads none of them."""
    script = (
        "import sys; sys.argv = ['factrfm', 'check', '--worker']\n"
        "from service.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "import resource; used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "heavy = {'torch', 'celery', 'pydantic', 'sqlalchemy', 'typer', 'httpx'} & set(sys.modules)\n"
        "print(code, used.ru_utime + used.ru_stime, *heavy)"
    )
    environment = {**os.environ, "FACTRFM_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    code, seconds, *heavy = done.stdout.split()
    assert (code, heavy) == ("1", [])
    assert float(seconds) < 0.2
    assert heartbeat.NO_WORKER in done.stderr


def test_a_loop_of_messages_that_stands_still_is_a_fault_and_one_without_connection_is_none() -> None:
    clock = Clock()
    loop = MessageLoop(lambda: clock().timestamp())
    assert loop.fault() is None
    loop.turn()
    clock.pass_seconds(MAX_LOOP_SECONDS + 1)
    assert loop.fault() == "its loop of messages stands still for 61 s"
    loop.turn()
    assert loop.fault() is None
    loop.rest()
    clock.pass_seconds(10 * MAX_LOOP_SECONDS)
    assert loop.fault() is None
