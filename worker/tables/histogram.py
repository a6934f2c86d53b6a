"""Histogram of a numeric column, counted block by block."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from worker.tables.values import EXACT_INTEGERS, as_floats


def histogram(
    blocks: Iterable[pa.Array], low: float, high: float, bins: int, *, integer: bool = False
) -> tuple[list[float], list[int]]:
    """Return the edges of at most ``bins`` equal bins from ``low`` to ``high``, and the counts of finite values.

    ``low`` and ``high`` are the smallest and the largest finite value. Integers (``integer``) that span fewer than
    ``bins`` get one bin each.
    """
    if integer and high - low < bins and max(abs(low), abs(high)) < EXACT_INTEGERS:
        edges = np.arange(low - 0.5, high + 1.0)
    elif low == high:
        half = max(0.5, float(np.spacing(abs(low))))
        edges = np.array([low - half, high + half])
    else:
        # halves, because the difference of huge numbers overflows; unique, because few floats may lie between them
        edges = np.unique([low, *(2.0 * np.linspace(low / 2, high / 2, bins + 1)[1:-1]), high])
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    for block in blocks:
        values = as_floats(block.drop_null()).to_numpy(zero_copy_only=False)
        places = np.searchsorted(edges, values[np.isfinite(values)], side="right") - 1
        counts += np.bincount(places.clip(0, len(counts) - 1), minlength=len(counts))
    return edges.tolist(), counts.tolist()
