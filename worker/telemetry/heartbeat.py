"""Heartbeats of workers for health checks: a worker writes a file every few seconds, and the check reads it.

The check covers only the worker. An unreachable database, queue or storage does not make a worker unhealthy, because a
restart would not help: ``factrfm check --worker --ready`` checks what a worker can reach.

The file is in the machine's folder for temporary files, so it is always local, and hosts that share a home do not see
each other's files. This module imports only the standard library, because a check runs every few seconds.
"""

import fcntl
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT_SECONDS = 2.0
TRIES = 10
MAX_SILENCE_SECONDS = 15.0
"""A worker without a heartbeat for this long is stopped or hangs."""
RECORD_BYTES = 1024
"""One call overwrites the whole record, so that readers never see a partial one."""
NO_WORKER = "no worker runs here for this FACTRFM_HOME and FACTRFM_QUEUE; start one by 'factrfm worker'"


@contextmanager
def emit_heartbeats(folder: Path, find_fault: Callable[[], str | None]) -> Iterator[None]:
    """Write a heartbeat into ``folder`` every few seconds while the block runs.

    ``find_fault`` returns what hangs in the worker, None if nothing does.

    Raises:
        OSError: the folder cannot be written, or belongs to another user.
    """
    path = folder / str(os.getpid())
    done = threading.Event()

    def beat() -> None:
        _write(file, find_fault())
        while not done.wait(BEAT_SECONDS):
            _write(file, find_fault())

    file = _created(path)
    try:
        # the lock ends with the process, however that ends, which identifies the files of dead workers
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            path.unlink(missing_ok=True)
            for empty in (folder, folder.parent):
                with suppress(OSError):  # another worker has a file in it
                    empty.rmdir()
    finally:
        os.close(file)


def heartbeat_folder(home: Path, queue: str) -> Path:
    """Return the folder for the heartbeats of the workers of a home and a queue."""
    named = hashlib.sha256(f"{home.absolute()}\n{queue}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"factrfm-{os.getuid()}" / f"workers-{named}"


def check(environment: Mapping[str, str]) -> str | None:
    """Return the fault of the local workers with the settings of ``environment``, None if there is none.

    At least one worker must run, and all of them must be healthy.
    """
    variables = {name.upper(): value for name, value in environment.items()}
    home, queue = variables.get("FACTRFM_HOME", ".factrfm"), variables.get("FACTRFM_QUEUE", "factrfm")
    folder = heartbeat_folder(Path(home), queue)
    faults = [_fault(path) for path in sorted(folder.glob("*")) if _is_held(path)]
    return NO_WORKER if not faults else next((fault for fault in faults if fault is not None), None)


def _fault(path: Path) -> str | None:
    worker = f"the worker of process {path.name}"
    try:
        record = json.loads(path.read_bytes())
        silent, fault = time.monotonic() - record["at"], record["fault"]
    except FileNotFoundError:
        return f"{worker} has just ended"
    except ValueError:
        return f"{worker} has just begun"
    # the clock starts at boot: a negative age means a file from before that
    if not 0 <= silent <= MAX_SILENCE_SECONDS:
        return f"{worker} gave no sign of life for {silent:.0f} s: it was stopped, or it hangs"
    return None if fault is None else f"{worker} hangs: {fault}"


def _write(file: int, fault: str | None) -> None:
    record = json.dumps({"at": time.monotonic(), "fault": fault}).encode()
    os.pwrite(file, record.ljust(RECORD_BYTES), 0)


def _is_held(path: Path) -> bool:
    """Return whether the process that holds the file is alive."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _created(path: Path) -> int:
    """Open the file in a private folder; retry, because a worker that ends may delete the empty folder."""
    for _ in range(TRIES):
        with suppress(FileNotFoundError):
            _make_private(path.parent)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    raise FileNotFoundError(f"{path.parent} is taken away again and again")


def _make_private(folder: Path) -> None:
    """Create the folder, and check that no other user can write to it.

    Raises:
        PermissionError: a folder of that name belongs to another user.
    """
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, exist_ok=True)
        if path.is_symlink() or path.stat().st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to somebody else")
