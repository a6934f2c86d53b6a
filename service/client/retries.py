"""When to ask again, and after how long."""

import random
from dataclasses import dataclass

import httpx

AGAIN = (429, 502, 503, 504)
IN_FLIGHT = "request_in_flight"
FIRST_PAUSE, MAX_PAUSE = 0.2, 10.0
MAX_RETRY_AFTER = 60.0
"""A Retry-After of more seconds than these ends the tries: the caller decides whether to wait so long."""


@dataclass
class Retries:
    """The tries of one call: up to ``most`` after the first. Pauses double with some chance, or are the service's."""

    most: int
    made: int = 0

    def pause(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """Return the seconds until the next try; None where ``outcome`` stands."""
        if self.made >= self.most:
            return None
        wanted: float | None = None
        if isinstance(outcome, httpx.Response):
            if not _passing(outcome):
                return None
            wanted = _asked(outcome)
            if wanted is not None and wanted > MAX_RETRY_AFTER:
                return None
        elif isinstance(outcome, httpx.UnsupportedProtocol) or is_no_tls(outcome):
            return None
        self.made += 1
        if wanted is not None:
            return wanted
        longest = min(FIRST_PAUSE * 2.0 ** (self.made - 1), MAX_PAUSE)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads clients, it hides nothing


def is_no_tls(error: httpx.HTTPError) -> bool:
    """Return whether whoever answered does not speak TLS."""
    return "WRONG_VERSION_NUMBER" in str(error)


def _passing(response: httpx.Response) -> bool:
    """Return whether the answer may be another one soon."""
    if response.status_code in AGAIN:
        return True
    return response.status_code == 409 and IN_FLIGHT in response.text


def _asked(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None
