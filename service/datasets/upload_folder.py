"""Temporary folders of uploads, each locked by the process that receives the upload."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.environment.home import make_home
from worker.store.files.disk_full import needing_room

FOLDER = "tmp"


@contextmanager
def upload_folder(home: Path) -> Iterator[Path]:
    """Create a temporary folder for one upload, and remove it afterwards.

    The folder is locked meanwhile. A lock ends with its process, so ``UploadSweeper`` finds folders left behind.

    Raises:
        StorageFull: the disk is full.
    """
    with needing_room("the upload"):
        make_home(home)
        parent = home / FOLDER
        parent.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=parent))
        try:
            with _locked(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class UploadSweeper:
    """Deletes folders of dead processes: those that stay unlocked for ``patience_s``."""

    def __init__(self, home: Path, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._parent = home / FOLDER
        self._patience_s = patience_s
        self._clock = clock
        self._unlocked: dict[Path, float] = {}

    def look(self) -> None:
        """Check every folder once."""
        now = self._clock()
        before, self._unlocked = self._unlocked, {}
        for folder in self._parent.glob("upload-*"):
            try:
                with _locked(folder):
                    since = before.get(folder, now)
            except OSError:  # in use, or just deleted
                continue
            if now - since >= self._patience_s:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self._unlocked[folder] = since


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        BlockingIOError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
