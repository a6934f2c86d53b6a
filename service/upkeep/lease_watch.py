"""Detection of expired leases by the monotonic clock of this process.

The clocks of workers and the API may differ and jump. A worker renews its lease every third of its length, two seconds
at most, and every renewal changes the row. So a lease whose row does not change is not renewed.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from worker.settings import MAX_RENEWAL_PAUSE
from worker.store.jobs.queries import HeldLease

ALIVE_S = MAX_RENEWAL_PAUSE + 1.0
"""A living worker renews its lease within this time."""


class LeaseWatch:
    """Remembers when each lease last changed. ``lease_s``: length of the leases."""

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._seen: dict[str, tuple[HeldLease, float]] = {}

    def late(self, leases: Sequence[HeldLease], now: datetime) -> list[HeldLease]:
        """Return the expired leases. ``leases``: all held leases.

        A lease has expired when its time is over and it is no longer renewed, or when it was not renewed for its whole
        length, even if a fast clock wrote a later time into it.
        """
        moment = self._clock()
        before, self._seen = self._seen, {}
        late: list[HeldLease] = []
        for lease in leases:
            known = before.get(lease.job_id)
            since = known[1] if known is not None and known[0].mark == lease.mark else moment
            self._seen[lease.job_id] = (lease, since)
            quiet = moment - since
            if quiet >= ALIVE_S and (lease.expires_at <= now or quiet >= self._lease_s):
                late.append(lease)
        return late
