"""``factrfm up`` as a real process: it starts everything, keeps it running, and leaves nothing behind."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support.processes import Process, free_port, wait_until

Start = Callable[..., tuple[Process, str]]
PROGRAM = [sys.executable, "-m", "service.cli"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts ``factrfm`` with nothing but the settings given; what is left of it is killed after the test."""
    started: list[Process] = []
    bare = {name: value for name, value in os.environ.items() if not name.startswith("FACTRFM_")}

    def one(arguments: list[str], environment: dict[str, str], **options: Any) -> Process:
        log = tmp_path / f"factrfm-{len(started)}.log"
        path = {"PATH": str(Path(sys.executable).parent)}
        started.append(Process(arguments, log, bare | path | environment, **options))
        return started[-1]

    yield one
    for process in started:
        if process.alive():
            process.kill()


@pytest.fixture
def start_up(start: Callable[..., Process], tmp_path: Path) -> Start:
    """Starts ``factrfm up`` on a folder and a free port."""

    def one(home: Path = tmp_path / "home", port: int | None = None) -> tuple[Process, str]:
        port = port or free_port()
        environment = {"FACTRFM_LEASE_SECONDS": "3", "FACTRFM_RECONCILE_SECONDS": "0.5"}
        up = start([*PROGRAM, "up", "--port", str(port), "--home", str(home)], environment)
        return up, f"http://127.0.0.1:{port}"

    return one


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


def test_home_and_port_come_from_the_environment_too(start: Callable[..., Process], tmp_path: Path) -> None:
    port = free_port()
    start([*PROGRAM, "up"], {"FACTRFM_HOME": str(tmp_path / "own"), "FACTRFM_PORT": str(port)}, folder=tmp_path)
    wait_until(lambda: _ready(f"http://127.0.0.1:{port}"), 60, "the service is ready")
    assert (tmp_path / "own" / "factrfm.db").exists()
    assert not (tmp_path / ".factrfm").exists()


def test_a_worker_that_cannot_start_ends_up_with_its_own_words(start: Callable[..., Process], tmp_path: Path) -> None:
    up = start(
        [*PROGRAM, "up", "--port", str(free_port()), "--home", str(tmp_path / "home")], {"FACTRFM_DEVICE": "abacus"}
    )
    family: list[psutil.Process] = []

    def ended() -> bool:
        family.extend(_family(up) if up.alive() else [])
        return not up.alive()

    wait_until(ended, 60, "up ends")
    text = up.log.read_text()
    assert up.stop() == 1
    assert "worker did not come up" in text
    assert "FACTRFM_DEVICE is 'abacus': torch knows no such device" in text
    assert "started again" not in text
    assert "Traceback" not in text
    assert _gone(family)


def test_programs_that_lie_where_the_user_stands_are_not_run(start: Callable[..., Process], tmp_path: Path) -> None:
    for name in ("service", "worker", "celery", "uvicorn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open({str(tmp_path / 'run')!r}, 'a').write('{name} ')")
    port = free_port()
    program = str(Path(sys.executable).with_name("factrfm"))
    environment = {"APP": "worker", "CONFIG_MODULE": "worker", "WEB_CONCURRENCY": "2"}
    start([program, "up", "--port", str(port), "--home", "home"], environment, folder=tmp_path)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: _ready(url), 60, "the service is ready")
    job = _submit(url, 1)
    wait_until(lambda: httpx.get(f"{url}/v1/jobs/{job}").json()["state"] == "succeeded", 60, "the job ends")
    assert not (tmp_path / "run").exists()


def _demo(start: Callable[..., Process], folder: Path, environment: dict[str, str]) -> Process:
    (folder / "temporary").mkdir()
    arguments = [*PROGRAM, "demo", "--out", str(folder / "heatmap.png")]
    return start(arguments, {"TMPDIR": str(folder / "temporary"), **environment})


def _left(folder: Path) -> list[Path]:
    return list((folder / "temporary").glob("factrfm*"))


def test_the_demo_heeds_no_setting_and_leaves_nothing(start: Callable[..., Process], tmp_path: Path) -> None:
    foreign = {
        "FACTRFM_HOME": str(tmp_path / "home"),
        "FACTRFM_DATABASE_URL": f"sqlite:///{tmp_path / 'foreign.db'}",
        "FACTRFM_STORAGE_URL": str(tmp_path / "artifacts"),
        "FACTRFM_REDIS_URL": "redis://127.0.0.1:9/0",
        "CELERY_BROKER_URL": "redis://127.0.0.1:9/0",
        "FACTRFM_API_KEYS": "keys-of-another-service",
        "FACTRFM_API_KEY": "key-of-another-service",
        "FACTRFM_HOST": "0.0.0.0",
        "FACTRFM_PORT": "9",
        "FACTRFM_DEVICE": "abacus",
    }
    demo = _demo(start, tmp_path, foreign)
    family: dict[int, psutil.Process] = {}

    def ended() -> bool:
        if demo.alive():
            family.update({one.pid: one for one in _family(demo)})
        return not demo.alive()

    wait_until(ended, 100, "the demo ends")
    text = demo.log.read_text()
    assert demo.stop() == 0, text
    assert "FACT-RFM" in text
    assert "stopped now" in text
    assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert len(family) >= 4
    assert _gone(list(family.values()))
    assert not _left(tmp_path)
    assert not [name for name in ("home", "foreign.db", "artifacts") if (tmp_path / name).exists()]


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "valkey"), (signal.SIGTERM, "worker.runs")])
def test_a_signal_to_the_demo_ends_all_of_it(
    start: Callable[..., Process], tmp_path: Path, number: signal.Signals, word: str
) -> None:
    demo = _demo(start, tmp_path, {})
    wait_until(lambda: bool(_named(_family(demo), word)), 60, f"{word} runs")
    family = _family(demo)
    demo.signal(number)
    wait_until(lambda: not demo.alive(), 30, "the demo ends")
    assert demo.stop() == 128 + number
    assert _gone(family)
    assert not _left(tmp_path)
    assert "Traceback" not in demo.log.read_text()


def test_a_kill_of_the_demo_takes_everything_with_it(start: Callable[..., Process], tmp_path: Path) -> None:
    demo = _demo(start, tmp_path, {})
    wait_until(lambda: bool(_named(_family(demo), "valkey")), 60, "parts run")
    family = _family(demo)
    demo.kill()
    wait_until(lambda: _gone(family), 20, "all parts end")
