"""Reading stored files for pages, which may be damaged or lost."""

from collections.abc import Callable
from typing import TypeVar

import structlog

from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing

log = structlog.get_logger()

R = TypeVar("R")


def unless_damaged(read: Callable[[], R]) -> R | None:
    """Return what ``read`` returns. If storage lost or changed the file, log it and return None."""
    try:
        return read()
    except (ArtifactMissing, ArtifactCorrupt) as error:
        log.error("file not shown", code=error.code, detail=error.detail)
        return None
