"""A disk without room has a name of its own among the errors: it is nobody's mistake, and it passes."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from worker.contracts.errors import StorageFull

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def needing_room(what: str) -> Iterator[None]:
    """Let an OSError that says that there is no room be StorageFull.

    Raises:
        StorageFull: the disk or the quota is used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorageFull(f"there is no room left on the disk to store {what}; free some and try again") from error
