"""How many inputs a test draws: few where the same are drawn every time, all of them by ``make properties``."""

from hypothesis import settings

EVERY_TIME = "same"
"""Name of the profile that draws the same inputs every time; to repeat many of them finds nothing new."""

PART = 3


def examples(count: int) -> int:
    """Return ``count``, or a third of it, but at least two, where the same inputs are drawn every time."""
    return max(2, count // PART) if settings.get_current_profile_name() == EVERY_TIME else count
