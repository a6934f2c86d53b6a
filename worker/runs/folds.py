"""Cross-validation: rounds of folds that several workers share, and the iteration and the ridge that folds choose."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

from worker.contracts.artifacts import FoldsCheckpoint
from worker.contracts.messages import RoundPlanned
from worker.contracts.parts import FoldWork, Score
from worker.contracts.resources import FoldFigures, PartCounts, Progress
from worker.contracts.validation import PREFIX
from worker.engine.config import FitConfig
from worker.engine.estimate import estimate
from worker.training.cost import TRAINING_RATE
from worker.training.rows import TrainingRows


def worth_parts(rows: TrainingRows, folds: int, config: FitConfig, part_seconds: float) -> bool:
    """Return whether a fold of ``rows``, which are all there are, is estimated to take ``part_seconds``."""
    n, d = rows.X.shape
    held_out = n // folds
    return estimate(n - held_out, d, rows.targets.n_outputs, held_out, config).flops / TRAINING_RATE >= part_seconds


def plan_folds(checkpoint: FoldsCheckpoint, folds: int, begun: float, ended: float) -> RoundPlanned:
    """Return the round of all folds. ``begun``, ``ended``: how far the job is before and after it."""
    progress = Progress(
        iterations=checkpoint.spec.iterations,
        fraction=begun,
        stage=f"fitting {folds} folds",
        parts=PartCounts(done=0, running=0, total=folds, fraction_after=ended),
    )
    works = [FoldWork(fold=fold, spec=checkpoint.spec) for fold in range(1, folds + 1)]
    return RoundPlanned(round=checkpoint.round, parts=works, progress=progress, checkpoint=checkpoint)


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


def figures_of_folds(folds: Sequence[Sequence[Score]], iteration: int) -> FoldFigures | None:
    """Return the figures of every fold at an iteration that all reached; None without folds, and of older ones."""
    figures = [
        {name: value for name, value in scores[iteration].metrics.items() if name.startswith(PREFIX)}
        for scores in folds
    ]
    if not any(figures):
        return None
    names = [name for name in figures[0] if all(name in fold for fold in figures)]
    by_name = {name: [fold[name] for fold in figures] for name in names}
    return FoldFigures(
        folds=figures,
        mean={name: fmean(values) for name, values in by_name.items()},
        deviation={name: stdev(values) for name, values in by_name.items()},
    )
