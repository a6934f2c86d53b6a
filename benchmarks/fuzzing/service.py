"""The whole service, started by ``factrfm up`` in a folder of its own and stopped again."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.faulting.processes import Program

PATIENCE = 60.0


@contextmanager
def serving(home: Path, key: str | None) -> Iterator[httpx.Client]:
    """Run the service; yield a client of it that sends ``key``. Without a key it is open."""
    home.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).with_name("factrfm"))
    settings = {"THREADS": "1", "DEVICE": "cpu", "RECONCILE_SECONDS": "1", "LOG_LEVEL": "warning", "DRAIN_SECONDS": "0"}
    # a fuzzer is one client that never pauses
    settings |= {"REQUESTS_PER_SECOND": "100000", "API_KEYS": key or ""}
    service = Program(
        "service",
        [program, "up", "--port", str(port), "--home", str(home / "state")],
        home / "up.log",
        {f"FACTRFM_{name}": value for name, value in settings.items()},
    )
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    service.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            _wait(client, service)
            yield client
    finally:
        service.stop()


def _wait(client: httpx.Client, service: Program) -> None:
    ends_at = time.monotonic() + PATIENCE
    while True:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if not service.alive() or time.monotonic() > ends_at:
            raise RuntimeError(f"the service did not start:\n{service.log.read_text()}")
        time.sleep(0.1)
