"""One page of a list."""

from typing import TypeVar

from worker.contracts.resources import Batch, Dataset, Job, Model

Item = TypeVar("Item", Batch, Dataset, Job, Model)


def first_page(found: list[Item], limit: int) -> tuple[list[Item], str | None]:
    """Return the first ``limit`` of ``found``, and the last one's id where ``found`` holds more."""
    items = found[:limit]
    return items, items[-1].id if len(found) > limit else None
