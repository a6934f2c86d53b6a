"""The whole system as real processes: Valkey, the API under uvicorn, Celery workers."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.browsing import KEY, PATIENCE_MS, Desk
from support.processes import System, valkey

from docs.tools.browser import chromium, find_chromium

Starter = Callable[..., System]


@pytest.fixture(scope="session")
def queue_address() -> Iterator[str]:
    """A Valkey for the session; each system has a queue of its own in it."""
    with tempfile.TemporaryDirectory(prefix="factrfm-q-") as folder, valkey(Path(folder)) as address:
        yield address


@pytest.fixture
def start_system(queue_address: str, tmp_path: Path) -> Iterator[Starter]:
    """Starts systems with an API and ``workers`` workers, and stops them after the test."""
    started: list[System] = []

    def start(database_url: str | None = None, workers: int = 1, **settings: str) -> System:
        system = System(
            tmp_path / f"system-{len(started)}", queue_address, database_url, queue=tmp_path.name, **settings
        )
        started.append(system)
        system.start_api()
        for _ in range(workers):
            system.start_worker()
        return system

    yield start
    for system in started:
        system.stop()


@pytest.fixture(scope="module")
def shared_system(queue_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system on SQLite for the tests of a module that disturb nothing."""
    home = tmp_path_factory.mktemp("shared")
    system = System(home, queue_address, queue=home.name)
    system.start_api()
    system.start_worker()
    yield system
    system.stop()


@pytest.fixture(scope="module")
def desk(queue_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    home = tmp_path_factory.mktemp("dashboard")
    system = System(home, queue_address, queue=home.name, api_keys=KEY)
    system.client.headers["Authorization"] = f"Bearer {KEY}"
    expect.set_options(timeout=PATIENCE_MS)
    try:
        system.start_api()
        system.start_worker()
        with chromium(program) as browser:
            yield Desk(browser, system)
    finally:
        system.stop()
