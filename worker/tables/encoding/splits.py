"""Which rows train and which validate. Indices are sorted; the same seed gives the same split."""

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
