"""Where an upload lies until it is a dataset: a folder of its own, locked by the process that receives it."""

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
    """Make a folder for one upload and remove it afterwards, whatever happens.

    It is locked meanwhile, and a lock ends with its process: so ``UploadSweeper`` tells the folders of the dead.

    Raises:
        StorageFull: there is no room for what the block writes.
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
    """Deletes folders of uploads whose process died: those found unlocked twice with ``patience_s`` between."""

    def __init__(self, home: Path, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._parent = home / FOLDER
        self._patience_s = patience_s
        self._clock = clock
        self._unlocked: dict[Path, float] = {}

    def look(self) -> None:
        """Look at every folder once."""
        now = self._clock()
        before, self._unlocked = self._unlocked, {}
        for folder in self._parent.glob("upload-*"):
            try:
                with _locked(folder):
                    since = before.get(folder, now)
            except OSError:  # its process lives, or has just deleted it
                continue
            if now - since >= self._patience_s:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self._unlocked[folder] = since


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        BlockingIOError: another holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
