"""What a fit will take, before it starts."""

from dataclasses import dataclass

import torch

from worker.engine.features import TILE_ROWS
from worker.engine.recursion import MEDIAN_ROWS, PREDICT_ROWS, FitConfig
from worker.engine.solvers import RIDGES


@dataclass(frozen=True)
class Estimate:
    """Peak memory in bytes and floating-point operations of a whole fit."""

    bytes: int
    flops: float


def estimate(n: int, d: int, c: int, m: int, config: FitConfig) -> Estimate:
    """Return the cost of fitting n rows, d columns and c outputs with m validation rows."""
    item = 4 if config.dtype == torch.float32 else 8
    ridges = len(RIDGES) if config.ridge == "auto" else 1
    left_out = config.ridge == "auto" and m == 0
    solving = n * n * (2 if left_out else 1) + n * d + ridges * n * c
    predicting = 2 * min(m, PREDICT_ROWS) * n
    updating = 4 * min(n, TILE_ROWS) * n + 2 * min(n, MEDIAN_ROWS) ** 2
    rows = (n + m) * (d + c)
    numbers = rows + 2 * n * c + max(solving, predicting, updating)
    steps = config.iterations + 1
    square = float(n) * n
    one = ridges * (square * n / 3 + 2 * square * (d + c)) + 2.0 * m * n * (d + ridges * c)
    if left_out:
        one += ridges * square * n * 2 / 3
    update = {"fact": 2 * square * (2 * d + c), "nfa": 2 * square * d * (c + 1), "none": 0.0}[
        config.update
    ] + 20.0 * d**3
    return Estimate(int(item * numbers + 8 * 6 * d * d), steps * one + config.iterations * update)
