"""A clock that stands still until it is moved."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Clock:
    """Call it for the moment; ``pass_seconds`` moves it."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def __call__(self) -> datetime:
        return self._now

    def pass_seconds(self, seconds: float) -> datetime:
        """Move on, and return the moment then."""
        self._now += timedelta(seconds=seconds)
        return self._now
