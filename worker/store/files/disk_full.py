"""Turn full disks into StorageFull, a temporary error that is no fault of the caller."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.contracts.errors import StorageFull, is_disk_full


@contextmanager
def needing_room(what: str) -> Iterator[None]:
    """Raise StorageFull for an OSError that means a full disk.

    Raises:
        StorageFull: the disk or the quota is used up.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise StorageFull(f"there is no room left on the disk to store {what}; free some and try again") from error


RESERVE_BYTES = 8 * 2**20
"""Enough to delete a job with tens of thousands of events."""


class Reserve:
    """A file beside the database that is deleted when the disk is full, so that SQLite has room to delete rows.

    Several processes may share one reserve.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size

    def keep(self) -> None:
        """Create the file if it is missing. Without room, a later call creates it."""
        if self._path.exists():
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)

    def give(self) -> bool:
        """Delete the file. Returns whether it existed."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
