"""What a fit will take, before it starts."""

from dataclasses import dataclass

import torch

from worker.engine.kernels import rows_in_block
from worker.engine.recursion import MEDIAN_ROWS, FitConfig
from worker.engine.solvers import INVERSE_BLOCK, RIDGES


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
    columns_at_once = min(n, INVERSE_BLOCK)
    block = min(n, rows_in_block(n)) * n
    median = min(n, MEDIAN_ROWS) ** 2 * 3 // 2 if config.bandwidth == "median" else 0
    updating = 4 * block + 2 * n * d
    solving = n * n + 2 * n * c + (3 * columns_at_once * n if left_out else 0)
    predicting = min(m, rows_in_block(n)) * n + m * ridges * c
    # blocks are small, and malloc keeps small blocks that are freed: they add to the largest step
    kept = max(updating, median)
    # the rows as the fit's own precision holds them, once as they are and once relative to their mean
    rows = (2 * n + m) * d + (2 + ridges * (2 if left_out else 1)) * n * c
    numbers = rows + kept + max(solving, predicting)
    square = float(n) * n
    one = ridges * (square * n / 3 + square * (d + 4 * c)) + 2.0 * m * n * (d + ridges * c)
    if left_out:
        one += ridges * square * n / 3
    update = {"fact": square * (3 * d + c), "nfa": 2 * square * d * (c + 1), "none": 0.0}[config.update] + 20.0 * d**3
    return Estimate(int(item * numbers + 8 * 6 * d * d), (config.iterations + 1) * one + config.iterations * update)
