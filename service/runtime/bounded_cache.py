"""An LRU cache bounded by bytes."""

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from operator import itemgetter
from typing import Any, TypeVar, cast

from cachetools import LRUCache

V = TypeVar("V")


class BoundedCache:
    """Immutable values by key, bounded by the sum of their bytes. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[Hashable, tuple[Any, int]] = LRUCache(max_bytes, itemgetter(1))

    def get(self, key: Hashable, make: Callable[[], V], nbytes: Callable[[V], int]) -> V:
        """Return the value of ``key``, computed by ``make`` on a miss. A value larger than the cache is not stored.

        Two threads that miss at the same time both compute it: the values are equal.
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
        """Bytes of all cached values."""
        return int(self._values.currsize)
