"""A worker's sign of life, for health checks: a file that it writes every few seconds, and what reads it.

It tells of the worker alone. A database, a queue or a storage that is away is no illness of the worker's, for starting
it anew would mend nothing: what a worker can reach is another question, ``factrfm check --worker --ready``.

The file lies in the machine's folder for temporary files, so it is there where only storage and database are elsewhere,
and hosts that share a home do not see each other's. This module imports the standard library alone, because a check
runs every few seconds for as long as a worker does: it must cost next to nothing.
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
"""A worker that was not heard of for so long is stopped or hangs."""
RECORD_BYTES = 1024
"""Every record is written by one call and over the one before, so that no reader finds half of it."""
NO_WORKER = "no worker runs here for this FACTRFM_HOME and FACTRFM_QUEUE; start one by 'factrfm worker'"


@contextmanager
def beating(folder: Path, find_fault: Callable[[], str | None]) -> Iterator[None]:
    """Write a sign of life into ``folder`` every few seconds for as long as the block lasts.

    ``find_fault`` says what of the worker stands still, None where all of it moves.

    Raises:
        OSError: the folder cannot be written, or is somebody else's.
    """
    path = folder / str(os.getpid())
    done = threading.Event()

    def beat() -> None:
        _write(file, find_fault())
        while not done.wait(BEAT_SECONDS):
            _write(file, find_fault())

    file = _created(path)
    try:
        # the lock ends with the process, however that ends: so the files of the dead are told from those of the living
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
                with suppress(OSError):  # of another worker there is a sign in it
                    empty.rmdir()
    finally:
        os.close(file)


def folder_of(home: Path, queue: str) -> Path:
    """Return where the workers of a home and a queue leave their signs on this machine."""
    named = hashlib.sha256(f"{home.absolute()}\n{queue}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"factrfm-{os.getuid()}" / f"workers-{named}"


def check(environment: Mapping[str, str]) -> str | None:
    """Return what is wrong with the workers that run here with the settings of ``environment``, None where nothing is.

    Every one of them must be well, and there must be one.
    """
    given = {name.upper(): value for name, value in environment.items()}
    folder = folder_of(Path(given.get("FACTRFM_HOME", ".factrfm")), given.get("FACTRFM_QUEUE", "factrfm"))
    found = [_fault(path) for path in sorted(folder.glob("*")) if _is_held(path)]
    return NO_WORKER if not found else next((fault for fault in found if fault is not None), None)


def _fault(path: Path) -> str | None:
    worker = f"the worker of process {path.name}"
    try:
        record = json.loads(path.read_bytes())
        silent, fault = time.monotonic() - record["at"], record["fault"]
    except FileNotFoundError:
        return f"{worker} has just ended"
    except ValueError:
        return f"{worker} has just begun"
    # the clock runs from the start of the machine: what was written before that is no sign of life either
    if not 0 <= silent <= MAX_SILENCE_SECONDS:
        return f"{worker} gave no sign of life for {silent:.0f} s: it was stopped, or it hangs"
    return None if fault is None else f"{worker} hangs: {fault}"


def _write(file: int, fault: str | None) -> None:
    record = json.dumps({"at": time.monotonic(), "fault": fault}).encode()
    os.pwrite(file, record.ljust(RECORD_BYTES), 0)


def _is_held(path: Path) -> bool:
    """Return whether the process that made the file lives."""
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
    """Open the file in a folder of our own; another worker that ends just now may take the empty folder away again."""
    for _ in range(TRIES):
        with suppress(FileNotFoundError):
            _make_private(path.parent)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    raise FileNotFoundError(f"{path.parent} is taken away again and again")


def _make_private(folder: Path) -> None:
    """Make the folder, and see that nobody else can put files there.

    Raises:
        PermissionError: one of that name is somebody else's.
    """
    for one in (folder.parent, folder):
        one.mkdir(mode=0o700, exist_ok=True)
        if one.is_symlink() or one.stat().st_uid != os.getuid():
            raise PermissionError(f"{one} belongs to somebody else")
