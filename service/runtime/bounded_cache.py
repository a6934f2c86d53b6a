"""Results that took long to make, as many as fit, the least recently used going first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

V = TypeVar("V")


class BoundedCache:
    """Values that never change by key, bounded by their bytes together. Threads may share it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], V], nbytes: Callable[[V], int]) -> V:
        """Return the value of ``key``, made where it is not there; one of more bytes than may be is not kept.

        Two threads that miss at once both make it: the values are equal.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return cast("V", self._values[key][0])
        value = make()
        size = nbytes(value)
        if size <= self._max_bytes:
            with self._lock:
                self._bytes += size - self._values.pop(key, (None, 0))[1]
                self._values[key] = value, size
                while self._bytes > self._max_bytes:
                    self._bytes -= self._values.popitem(last=False)[1][1]
        return value

    @property
    def nbytes(self) -> int:
        """Bytes of all values that are kept."""
        return self._bytes
