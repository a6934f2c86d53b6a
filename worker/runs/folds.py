"""Select the iteration and the ridge by cross-validation."""

from collections.abc import Sequence
from dataclasses import replace

from worker.engine.config import FitConfig
from worker.runs.checkpoints import Score


def chosen_by_folds(config: FitConfig, folds: Sequence[Sequence[Score]]) -> FitConfig:
    """Return the config of the last fit: the iteration with the least mean loss over the folds, and its ridge.

    A fold that stopped early has no later iterations, so only those count that every fold reached. The ridge is the
    median over the folds (the lower median).
    """
    reached = min(len(scores) for scores in folds)
    means = [
        tuple(sum(parts) / len(folds) for parts in zip(*(scores[t].loss for scores in folds), strict=True))
        for t in range(reached)
    ]
    best = min(range(reached), key=lambda t: means[t])
    ridges = sorted(scores[best].ridge for scores in folds)
    return replace(config, iterations=best, ridge=ridges[(len(ridges) - 1) // 2], patience=None)
