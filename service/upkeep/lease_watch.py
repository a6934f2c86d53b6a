"""Which leases have run out, told by when they were seen to be renewed.

Workers and the API have clocks of their own, and a clock may jump. A worker renews its lease every third of its
length, two seconds at most, and every renewal changes the row. So a lease that does not change is not renewed: by this
process's own measure of time, which does not jump.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from worker.settings import MAX_RENEWAL_PAUSE
from worker.store.jobs.queries import HeldLease

ALIVE_S = MAX_RENEWAL_PAUSE + 1.0
"""A worker that lives has renewed within so many seconds."""


class LeaseWatch:
    """Remembers when each lease was last seen to change. ``lease_s``: how long the workers' leases are."""

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._seen: dict[str, tuple[HeldLease, float]] = {}

    def late(self, leases: Sequence[HeldLease], now: datetime) -> list[HeldLease]:
        """Return those of ``leases``, which are all there are, that have run out.

        A lease has run out when its moment has come and its worker does not renew any more; or when it was not renewed
        for its whole length, whatever moment a clock that was ahead has written into it.
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
