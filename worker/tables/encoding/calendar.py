"""What of a moment comes again: its month, its day of the week, its hour, each as a point on a circle.

December is as near to January as to November, so each part is the sine and the cosine of its angle.
"""

from collections.abc import Callable, Mapping

import numpy as np

from worker.tables.cells.moments import DAY

MONDAY = 3
"""The first day of 1970, a Thursday, is so many days after a Monday."""


def _month(moments: np.ndarray) -> np.ndarray:
    months: np.ndarray = (moments // DAY).astype("M8[D]").astype("M8[M]").astype(np.int64) % 12 / 12
    return months


def _weekday(moments: np.ndarray) -> np.ndarray:
    weekdays: np.ndarray = (moments // DAY + MONDAY) % 7 / 7
    return weekdays


def _hour(moments: np.ndarray) -> np.ndarray:
    hours: np.ndarray = moments % DAY / DAY
    return hours


PARTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"month": _month, "weekday": _weekday, "hour": _hour}
"""Of seconds since 1970, (n,), the share of the circle that each part has gone, from 0 to below 1."""


def varying(moments: np.ndarray) -> tuple[str, ...]:
    """Return the parts in which moments (n,) differ."""
    return tuple(name for name, share in PARTS.items() if np.ptp(share(moments)) > 0)


def circle(part: str, moments: np.ndarray) -> np.ndarray:
    """Return the sine and the cosine of a part of moments (n,), (n, 2)."""
    angle = 2 * np.pi * PARTS[part](moments)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)
