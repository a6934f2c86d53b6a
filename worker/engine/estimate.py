"""What a fit will take, before it starts."""

from dataclasses import dataclass, replace

from worker.engine.config import FitConfig
from worker.engine.features import BLOCK_ROWS
from worker.engine.kernels.points import TILE
from worker.engine.problem import MEDIAN_ROWS
from worker.engine.solvers.ridge_solvers import ridge_solver

DIRECT_ROWS = 20_000
"""Up to so many rows a factorisation is preferred wherever it fits; measured on two cores, it is about as quick."""
WELL_POSED_RIDGE = 1e-2
"""From this ridge on conjugate gradients converge in tens of steps."""
KEPT_SHARE = 0.8
"""Of the memory that is left, tiles of the kernel matrix take at most this share."""
GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Peak memory in bytes and floating-point operations of a whole fit."""

    bytes: int
    flops: float


def estimate(n: int, d: int, c: int, m: int, config: FitConfig) -> Estimate:
    """Return the cost of fitting n rows, d columns and c outputs with m validation rows."""
    item = config.dtype.itemsize
    ridges = len(config.ridges) if config.ridge == "auto" else 1
    chosen_by_rows_left_out = config.solver == "cholesky" and config.iterations > 0 and config.update != "none"
    left_out = m == 0 and (config.ridge == "auto" or chosen_by_rows_left_out)
    solving = ridge_solver(config, leave_one_out=left_out).cost(n, d, c, ridges)
    tile = min(n, TILE[0]) * min(n, TILE[1])
    median = min(n, MEDIAN_ROWS) ** 2 * 3 // 2 if config.bandwidth == "median" else 0
    block = 3 * min(n, BLOCK_ROWS) * n if config.update == "nfa" else 2 * tile
    updating = block + 2 * n * d
    predicting = tile + m * ridges * c
    # blocks are small, and malloc keeps small blocks that are freed: they add to the largest step
    kept = max(updating, median)
    # the rows as the fit's own precision holds them: as they are, relative to their mean, and times M
    rows = (3 * n + m) * d + (2 + ridges * (2 if left_out else 1)) * n * c
    numbers = rows + kept + max(solving.numbers, predicting)
    solve = solving.flops + 2.0 * m * n * (d + ridges * c)
    square = float(n) * n
    if config.feature_matrix == "full" and n < d:
        # by decompositions of (d, n) and (n, n) matrices
        update = square * (12.0 * d + 40.0 * n + 2.0 * n * c) + 6.0 * n * d**2
    else:
        update = {"fact": square * (3 * d + c), "nfa": 2 * square * d * (c + 1), "none": 0.0}[config.update]
        update += 20.0 * d**3
    return Estimate(int(item * numbers + 8 * 6 * d * d), (config.iterations + 1) * solve + config.iterations * update)


def choose_solver(n: int, d: int, c: int, m: int, config: FitConfig, available_bytes: int) -> tuple[str, str]:
    """Return the solver that suits the rows, the ridge and the memory, and a sentence that says why."""
    needed = estimate(n, d, c, m, replace(config, solver="cholesky")).bytes
    figures = f"a factorisation takes {needed / GIB:.2f} GiB of {available_bytes / GIB:.2f} GiB"
    ridge = min(config.ridges) if config.ridge == "auto" else config.ridge
    if ridge <= 0 or (config.ridge == "auto" and m == 0):
        need = "a ridge above 0" if ridge <= 0 else "validation rows to choose the ridge by"
        return "cholesky", f"cholesky: conjugate gradients need {need}"
    if needed <= available_bytes and n <= DIRECT_ROWS:
        return "cholesky", f"cholesky: {n} rows are at most {DIRECT_ROWS}, and {figures}"
    if needed <= available_bytes and ridge < WELL_POSED_RIDGE:
        return "cholesky", f"cholesky: ridge {ridge:g} is below {WELL_POSED_RIDGE:g}, and {figures}"
    return "cg", f"cg: {n} rows, and {figures}"


def within(n: int, d: int, c: int, m: int, config: FitConfig, available_bytes: int) -> FitConfig:
    """Return the config that keeps to the memory: float64 is closed to precision 'auto' where it does not fit.

    With solver 'cg' as much of the kernel matrix is kept as fits; that changes the time, and nothing of what is found.
    """
    if config.may_be_precise and estimate(n, d, c, m, replace(config.precise, kept_bytes=0)).bytes > available_bytes:
        config = replace(config, precision="float32")
    if config.solver != "cg":
        return config
    bare = estimate(n, d, c, m, replace(config, kept_bytes=0)).bytes
    return replace(config, kept_bytes=max(int(KEPT_SHARE * (available_bytes - bare)), 0))
