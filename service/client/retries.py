"""Which failures are retried, and after how long."""

import random
from dataclasses import dataclass

import httpx

AGAIN = (429, 502, 503, 504)
IN_FLIGHT = "request_in_flight"
FIRST_PAUSE, MAX_PAUSE = 0.2, 10.0
MAX_RETRY_AFTER = 60.0
"""A longer Retry-After ends the tries: the caller decides whether to wait so long."""


@dataclass
class Retries:
    """The retries of one call, at most ``most``. Pauses double, with jitter, or are those of Retry-After."""

    most: int
    made: int = 0

    def pause(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """Return the seconds until the next try; None if there is no next try."""
        if self.made >= self.most:
            return None
        retry_after: float | None = None
        if isinstance(outcome, httpx.Response):
            if not _is_transient(outcome):
                return None
            retry_after = _retry_after(outcome)
            if retry_after is not None and retry_after > MAX_RETRY_AFTER:
                return None
        elif isinstance(outcome, httpx.UnsupportedProtocol) or is_no_tls(outcome):
            return None
        self.made += 1
        if retry_after is not None:
            return retry_after
        longest = min(FIRST_PAUSE * 2.0 ** (self.made - 1), MAX_PAUSE)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def is_no_tls(error: httpx.HTTPError) -> bool:
    """Return whether the server does not speak TLS."""
    return "WRONG_VERSION_NUMBER" in str(error)


def _is_transient(response: httpx.Response) -> bool:
    """Return whether a retry may succeed."""
    if response.status_code in AGAIN:
        return True
    return response.status_code == 409 and IN_FLIGHT in response.text


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None
