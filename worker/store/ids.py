"""Ids that sort by time: a prefix and a ULID in lower-case Crockford base32 (github.com/ulid/spec)."""

import secrets
import threading
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 26
RANDOM_BITS = 80
STEP_BITS = 40
"""Ids of one millisecond differ by random steps of this many bits, so that two processes do not collide."""


class _Ids:
    """Generates increasing numbers within a process, also within one millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = -1
        self._random = 0

    def next(self, millisecond: int) -> int:
        with self._lock:
            if millisecond == self._millisecond:
                self._random += 1 + secrets.randbits(STEP_BITS)
            else:
                self._millisecond = millisecond
                self._random = secrets.randbits(RANDOM_BITS - 1)
            return (millisecond << RANDOM_BITS) | self._random


_ids = _Ids()


def new_id(prefix: str, now: datetime) -> str:
    """Return an id such as ``job_01jd…``. Within a process later ids sort later."""
    number = _ids.next(int(now.timestamp() * 1000))
    digits = (ALPHABET[(number >> shift) & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
    return f"{prefix}_{''.join(digits)}"
