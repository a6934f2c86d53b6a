"""A limit on the event streams and waits of one API process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TooManyFollowers


class StreamSlots:
    """Slots for event streams and waits. Not thread-safe: used in the event loop."""

    def __init__(self, most: int, most_of_project: int) -> None:
        self._most = most
        self._most_of_project = most_of_project
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, project: str) -> Iterator[None]:
        """Hold a slot.

        Raises:
            TooManyFollowers: the project, or all projects together, have no free slot.
        """
        if self._taken[project] >= self._most_of_project:
            raise TooManyFollowers(f"the project follows {self._most_of_project} jobs already, as many as it may")
        if self._taken.total() >= self._most:
            raise TooManyFollowers(f"{self._most} jobs are followed already, as many as this process takes")
        self._taken[project] += 1
        try:
            yield
        finally:
            self._taken[project] -= 1
            if not self._taken[project]:
                del self._taken[project]
