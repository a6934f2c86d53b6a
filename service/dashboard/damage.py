"""What a page shows of a stored file, and what becomes of it where the file is damaged or gone."""

from collections.abc import Callable
from typing import TypeVar

import structlog

from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing

log = structlog.get_logger()

R = TypeVar("R")


def unless_damaged(read: Callable[[], R]) -> R | None:
    """Return what ``read`` makes of a file; None, and a line in the log, where storage lost or changed the file."""
    try:
        return read()
    except (ArtifactMissing, ArtifactCorrupt) as error:
        log.error("file not shown", code=error.code, detail=error.detail)
        return None
