"""Means, deviations and quantiles of values that count several times each, as if every copy were there."""

import numpy as np

ROUNDING = 1e-9


def mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the mean of values (n,) or (n, k) over the rows, () or (k,)."""
    found: np.ndarray = np.asarray(values.mean(0) if weights is None else weights @ values / weights.sum())
    return found


def variance(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the variance of values (n,) or (n, k) over the rows, divided by their number, () or (k,)."""
    return np.asarray(values.var(0)) if weights is None else mean((values - mean(values, weights)) ** 2, weights)


def counts(weights: np.ndarray) -> np.ndarray:
    """Return how many copies weights (n,) stand for: whole numbers themselves, others scaled to one copy a row.

    Weights that are all the same are one copy each, whatever rounding does to them.
    """
    if (weights == np.floor(weights)).all():
        return weights
    scaled: np.ndarray = weights * (len(weights) / weights.sum())
    whole = np.round(scaled)
    return whole if (np.abs(scaled - whole) <= ROUNDING * scaled).all() else scaled


def number(values: np.ndarray, copies: np.ndarray | None) -> int:
    """Return how many values there are with all ``copies`` (n,) of each."""
    return len(values) if copies is None else max(round(float(copies.sum())), 1)


def quantiles(values: np.ndarray, levels: np.ndarray, copies: np.ndarray | None) -> np.ndarray:
    """Return what ``np.quantile`` does of all ``copies`` (n,) of values (n,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = np.arange(1, len(values) + 1) if copies is None else np.cumsum(copies[order])
    places = levels * (number(values, copies) - 1)
    whole = np.round(places)
    # a place that rounding moved between two values would make a third of them, beside the value that it is
    places = np.where(np.abs(places - whole) <= ROUNDING * np.maximum(whole, 1), whole, places)
    below = np.floor(places)
    low, high = (
        ordered[np.searchsorted(ends, place, side="right").clip(max=len(ordered) - 1)] for place in (below, below + 1)
    )
    share, gap = places - below, high - low
    # from the nearer end, as numpy does, so that quantiles of copies come out in the same bits
    between: np.ndarray = np.where(share >= 0.5, high - gap * (1 - share), low + gap * share)
    return between
