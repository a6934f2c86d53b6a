"""Results that took long to make, as many as fit, the least recently used going first."""

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from operator import itemgetter
from typing import Any, TypeVar, cast

from cachetools import LRUCache

V = TypeVar("V")


class BoundedCache:
    """Values that never change by key, bounded by their bytes together. Threads may share it."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[Hashable, tuple[Any, int]] = LRUCache(max_bytes, itemgetter(1))

    def get(self, key: Hashable, make: Callable[[], V], nbytes: Callable[[V], int]) -> V:
        """Return the value of ``key``, made where it is not there; one of more bytes than may be is not kept.

        Two threads that miss at once both make it: the values are equal.
        """
        with self._lock:
            entry = self._values.get(key)
        if entry is not None:
            return cast("V", entry[0])
        value = make()
        with self._lock, suppress(ValueError):
            self._values[key] = value, nbytes(value)
        return value

    @property
    def nbytes(self) -> int:
        """Bytes of all values that are kept."""
        return int(self._values.currsize)
