"""Which rows train and which validate. Indices are sorted; the same seed gives the same split."""

import heapq

import numpy as np

Indices = np.ndarray


def holdout(n: int, fraction: float, seed: int, codes: np.ndarray | None = None) -> tuple[Indices, Indices]:
    """Return training and validation rows; of each class (``codes``, (n,)) about the same share validates.

    At least one row validates and one trains. A class with one member trains.
    """
    generator = np.random.default_rng(seed)
    size = min(max(1, round(n * fraction)), n - 1)
    if codes is None:
        order = generator.permutation(n)
        return np.sort(order[size:]), np.sort(order[:size])
    keys = np.empty(n)
    for code in np.unique(codes):
        members = generator.permutation(np.flatnonzero(codes == code))
        # the first of a class is the last to validate, the others are spread evenly over (0, 1)
        keys[members] = (np.arange(len(members)) + generator.random()) / len(members)
        keys[members[-1]] = 2.0
    order = np.argsort(keys, kind="stable")
    spare = int((keys < 2).sum())
    held_out = order[: min(size, spare) or 1]
    return np.sort(np.setdiff1d(np.arange(n), held_out)), np.sort(held_out)


def folds(n: int, k: int, seed: int, codes: np.ndarray | None = None) -> list[tuple[Indices, Indices]]:
    """Return k pairs of training and validation rows; every row validates once, classes are spread over the folds."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(n)
    if codes is not None:
        order = order[np.argsort(codes[order], kind="stable")]
    fold_of = np.empty(n, dtype=np.int64)
    fold_of[order] = np.arange(n) % k
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(k)]


def group_holdout(groups: np.ndarray, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Return training and validation rows; no group, of codes (n,), has rows among both.

    Groups are drawn until their rows are as near to the fraction as they come; there are at least two groups.
    """
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    held = np.cumsum(sizes[order])[:-1]
    drawn = order[: np.argmin(np.abs(held - fraction * len(groups))) + 1]
    return _split(np.isin(codes, drawn))


def group_folds(groups: np.ndarray, k: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Return k pairs of training and validation rows; every row validates once, and its whole group with it.

    The largest group comes first, each to the fold that is smallest by then. There are at least k groups.
    """
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    folds_by_size = [(0, fold) for fold in range(k)]
    fold_of = np.empty(len(sizes), np.int64)
    for group in order.tolist():
        size, fold = heapq.heappop(folds_by_size)
        fold_of[group] = fold
        heapq.heappush(folds_by_size, (size + int(sizes[group]), fold))
    return [_split(fold_of[codes] == fold) for fold in range(k)]


def latest(times: np.ndarray, fraction: float) -> tuple[Indices, Indices]:
    """Return training and validation rows; every training row is earlier than every one that validates.

    Rows of one moment stay together, so the share is as near to the fraction as it comes; there are two moments.
    """
    moments, counts = np.unique(times, return_counts=True)
    later = len(times) - np.cumsum(counts)[:-1]
    return _split(times > moments[np.argmin(np.abs(later - fraction * len(times)))])


def marked(marks: np.ndarray) -> tuple[Indices, Indices]:
    """Return training and validation rows: marks (n,) are true for those that validate."""
    return _split(marks)


def _split(validates: np.ndarray) -> tuple[Indices, Indices]:
    return np.flatnonzero(~validates), np.flatnonzero(validates)
