"""What a stopping server has not finished is told so, and may be tried again elsewhere."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import System, valkey
from support.wire import all_of


@pytest.fixture
def stopping(tmp_path: Path) -> Iterator[System]:
    with valkey(tmp_path) as address:
        system = System(tmp_path / "home", address)
        system.start_api()
        yield system
        system.stop()


def test_a_body_that_stopped_to_come_does_not_hold_a_stopping_server(stopping: System) -> None:
    head = b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
    with socket.create_connection(("127.0.0.1", stopping.port), timeout=30) as connection:
        connection.sendall(head + b"Content-Length: 1000\r\n\r\na,b\n")
        time.sleep(0.5)
        assert stopping.api is not None
        stopping.api.signal(signal.SIGTERM)
        began = time.monotonic()
        answer = all_of(connection)
    assert time.monotonic() - began < 6
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b"retry-after: " in answer.lower()
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (problem["status"], problem["code"]) == (503, "not_ready")
    assert stopping.api.stop() == 0
