"""One page of a list."""

from typing import TypeVar

from worker.contracts.resources import Batch, Dataset, Job, Model, Upload

Item = TypeVar("Item", Batch, Dataset, Job, Model, Upload)


def first_page(items: list[Item], limit: int) -> tuple[list[Item], str | None]:
    """Return the first ``limit`` items, and the id of the last of them if there are more items."""
    page = items[:limit]
    return page, page[-1].id if len(items) > limit else None
