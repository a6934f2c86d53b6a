"""A real server whose times are short, and a connection to it."""

import socket
from collections.abc import Iterator

import pytest
from support.processes import System, valkey
from support.wire import HEAD_SECONDS, STALL_SECONDS


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("connections")
    with valkey(folder) as address:
        times = {"head_seconds": str(HEAD_SECONDS), "stall_seconds": str(STALL_SECONDS)}
        system = System(folder / "home", address, max_followers_per_project="2", **times)
        system.start_api()
        yield system
        system.stop()


@pytest.fixture
def connection(system: System) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", system.port), timeout=20) as connection:
        yield connection
