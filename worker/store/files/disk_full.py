"""A disk without room has a name of its own among the errors: it is nobody's mistake, and it passes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.contracts.errors import StorageFull, says_full


@contextmanager
def needing_room(what: str) -> Iterator[None]:
    """Let an OSError that says that there is no room be StorageFull.

    Raises:
        StorageFull: the disk or the quota is used up.
    """
    try:
        yield
    except OSError as error:
        if not says_full(error):
            raise
        raise StorageFull(f"there is no room left on the disk to store {what}; free some and try again") from error


RESERVE_BYTES = 8 * 2**20
"""A job with some ten thousand events is deleted with less."""


class Reserve:
    """A file beside the database that is given up when the disk is full, so that deleting does not need what it frees.

    Several processes may keep and give the same one.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size

    def keep(self) -> None:
        """Make the file where it is not there. Where there is no room it is made another time."""
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
        """Delete the file. Returns whether it was there."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
