"""``factrfm up`` as a real process: it starts everything, keeps it running, and leaves nothing behind."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from support.processes import Process, free_port, wait_until

Start = Callable[..., tuple[Process, str]]
PROGRAM = [sys.executable, "-m", "service.cli"]


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Start]:
    """Starts ``factrfm up`` on a folder and a free port; what is left of it is killed after the test."""
    started: list[Process] = []

    def start(home: Path = tmp_path / "home", port: int | None = None) -> tuple[Process, str]:
        port = port or free_port()
        environment = {
            "FACTRFM_LEASE_SECONDS": "3",
            "FACTRFM_RECONCILE_SECONDS": "0.5",
            "PATH": str(Path(sys.executable).parent),
        }
        arguments = [*PROGRAM, "up", "--port", str(port), "--home", str(home)]
        started.append(Process(arguments, tmp_path / f"up-{len(started)}.log", environment))
        return started[-1], f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        if process.alive():
            process.kill()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _family(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _gone(family: list[psutil.Process]) -> bool:
    return all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in family)


def _words(process: psutil.Process) -> str:
    """The command line, empty for a process that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _named(family: list[psutil.Process], word: str) -> list[psutil.Process]:
    return [one for one in family if word in _words(one)]


def _submit(url: str, iterations: int) -> str:
    rows = "".join(f"{index % 97},{index % 89},{index * 7919 % 1009}.5\n" for index in range(2000))
    dataset = httpx.post(f"{url}/v1/datasets", content="a,b,y\n" + rows, headers={"Content-Type": "text/csv"}).json()
    body = {"kind": "fit", "dataset": dataset["id"], "target": "y", "spec": {"iterations": iterations}}
    return str(httpx.post(f"{url}/v1/jobs", json=body).json()["id"])


def test_ctrl_c_during_a_fit_leaves_no_process(start_up: Start) -> None:
    up, url = start_up()
    wait_until(lambda: _ready(url), 60, "the service is ready")
    job = _submit(url, 1000)
    wait_until(lambda: httpx.get(f"{url}/v1/jobs/{job}").json()["progress"]["iteration"] is not None, 30, "it runs")
    family = _family(up)
    for word in ("valkey", "worker.app", "worker.runs", "service.cli"):
        assert _named(family, word), word
    up.signal(signal.SIGINT)
    wait_until(lambda: not up.alive(), 20, "up ends")
    assert _gone(family)
    assert up.stop() == 0


def test_ctrl_c_during_the_start_leaves_no_process(start_up: Start) -> None:
    up, _ = start_up()
    wait_until(lambda: len(_family(up)) >= 2, 30, "parts are started")
    family = _family(up)
    up.signal(signal.SIGINT)
    wait_until(lambda: not up.alive(), 20, "up ends")
    assert _gone(family)


def test_a_kill_of_up_takes_everything_with_it(start_up: Start) -> None:
    up, url = start_up()
    wait_until(lambda: _ready(url), 60, "the service is ready")
    job = _submit(url, 1000)
    wait_until(lambda: httpx.get(f"{url}/v1/jobs/{job}").json()["progress"]["iteration"] is not None, 30, "it runs")
    family = _family(up)
    up.kill()
    wait_until(lambda: _gone(family), 20, "all parts end")


def test_parts_that_die_are_started_again_and_the_job_still_ends(start_up: Start) -> None:
    up, url = start_up()
    wait_until(lambda: _ready(url), 60, "the service is ready")
    job = _submit(url, 20)
    for word in ("valkey", "worker.app", "service.cli"):
        victim = _named(_family(up), word)[0]
        victim.kill()
        wait_until(lambda victim=victim: _gone([victim]), 10, f"{word} is dead")
        wait_until(lambda word=word: bool(_named(_family(up), word)), 30, f"{word} is back")
        wait_until(lambda: _ready(url), 60, "the service is ready again")

    def ended() -> bool:
        return httpx.get(f"{url}/v1/jobs/{job}").json()["state"] == "succeeded"

    wait_until(ended, 60, "the job ends")
    up.signal(signal.SIGTERM)
    wait_until(lambda: not up.alive(), 20, "up ends")


def test_state_outlives_a_restart(start_up: Start) -> None:
    up, url = start_up()
    wait_until(lambda: _ready(url), 60, "the service is ready")
    job = _submit(url, 1)
    up.signal(signal.SIGINT)
    wait_until(lambda: not up.alive(), 20, "up ends")
    _, url = start_up()
    wait_until(lambda: _ready(url), 60, "the service is ready")
    wait_until(lambda: httpx.get(f"{url}/v1/jobs/{job}").json()["state"] == "succeeded", 60, "the job ends")


def test_a_second_up_on_one_folder_and_a_taken_port_are_clear_words(start_up: Start, tmp_path: Path) -> None:
    up, url = start_up()
    wait_until(lambda: _ready(url), 60, "the service is ready")
    second, _ = start_up()
    wait_until(lambda: not second.alive(), 30, "the second ends")
    assert f"is in use by process {up.pid}" in second.log.read_text()
    third, _ = start_up(tmp_path / "other", int(url.rsplit(":", 1)[1]))
    wait_until(lambda: not third.alive(), 30, "the third ends")
    assert "cannot listen on" in third.log.read_text()
    assert "Traceback" not in second.log.read_text() + third.log.read_text()


def test_a_folder_with_a_long_path_works(start_up: Start, tmp_path: Path) -> None:
    home = tmp_path / ("a-very-long-name-" * 8)
    up, url = start_up(home)
    wait_until(lambda: _ready(url), 60, "the service is ready")
    up.signal(signal.SIGINT)
    wait_until(lambda: not up.alive(), 20, "up ends")
    assert (home / "factrfm.db").exists()


def test_the_demo_ends_well_and_leaves_no_process(tmp_path: Path) -> None:
    demo = Process([*PROGRAM, "demo", "--out", str(tmp_path / "heatmap.png")], tmp_path / "demo.log")
    family: dict[int, psutil.Process] = {}

    def ended() -> bool:
        if demo.alive():
            family.update({one.pid: one for one in _family(demo)})
        return not demo.alive()

    wait_until(ended, 100, "the demo ends")
    text = demo.log.read_text()
    assert demo.stop() == 0, text
    assert "FACT-RFM" in text
    assert "/docs" in text
    assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert len(family) >= 4
    assert _gone(list(family.values()))
