import subprocess
import sys
from pathlib import Path

import pytest

from worker.engine.config import FitConfig
from worker.engine.estimate import choose_solver, estimate, within

PROGRAM = """
import sys, torch
from pathlib import Path
from worker.engine.config import FitConfig
from worker.engine.recursion import iterate
from worker.engine.targets import RegressionTargets
torch.set_num_threads(1)
n, d, c, m = map(int, sys.argv[1:5])
X, Y = torch.randn(n, d), torch.randn(n, c)
config = FitConfig(ridge=float(sys.argv[5]), iterations=1, precision=sys.argv[6], solver=sys.argv[7])
def fit(rows):
    validation = None if m == 0 else (torch.randn(m, d), torch.randn(m, c))
    list(iterate(X[:rows], Y[:rows], RegressionTargets.fit(Y[:rows]), config, validation=validation))
def memory(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024
fit(100)
before = memory("VmRSS")
fit(n)
# not getrusage: its peak is inherited from the process that started this one
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(
    ("n", "d", "c", "m", "precision", "solver"),
    [
        (4000, 50, 10, 0, "float32", "cholesky"),
        (6000, 20, 1, 0, "float32", "cholesky"),
        (4500, 50, 10, 1000, "float64", "cholesky"),
        (8000, 20, 2, 100, "float32", "cg"),
    ],
)
def test_estimated_memory_is_what_a_fit_takes_at_its_peak(n, d, c, m, precision, solver):
    arguments = [str(n), str(d), str(c), str(m), "0.1", precision, solver]
    run = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    expected = estimate(n, d, c, m, FitConfig(ridge=0.1, iterations=1, precision=precision, solver=solver)).bytes
    # how much of its freed blocks malloc keeps differs from run to run
    assert int(run.stdout) == pytest.approx(expected, rel=0.3)


def test_work_grows_with_the_cube_of_rows():
    config = FitConfig(ridge=0.1, iterations=1)
    assert estimate(40_000, 10, 1, 0, config).flops / estimate(20_000, 10, 1, 0, config).flops == pytest.approx(
        8, rel=0.1
    )


@pytest.mark.parametrize(
    ("n", "m", "ridge", "gib", "solver", "reason"),
    [
        (5000, 0, 0.1, 8, "cholesky", "5000 rows are at most 20000"),
        (30_000, 0, 0.1, 8, "cg", "cg: 30000 rows, and a factorisation takes 3"),
        (30_000, 0, 1e-3, 8, "cholesky", "ridge 0.001 is below 0.01"),
        (30_000, 0, 1e-3, 2, "cg", "of 2.00 GiB"),
        (5000, 0, 0.1, 0.05, "cg", "of 0.05 GiB"),
        (60_000, 0, 0.0, 2, "cholesky", "need a ridge above 0"),
        (60_000, 0, "auto", 2, "cholesky", "need validation rows"),
        (60_000, 100, "auto", 2, "cg", "cg: 60000 rows"),
    ],
)
def test_the_solver_follows_from_rows_ridge_and_memory(n, m, ridge, gib, solver, reason):
    available = int(gib * 2**30)
    chosen, why = choose_solver(n, 50, 1, m, FitConfig(ridge=ridge), available)
    assert chosen == solver
    assert reason in why
    if solver == "cg" and gib >= 1:
        config = within(n, 50, 1, m, FitConfig(ridge=ridge, solver="cg"), available)
        assert estimate(n, 50, 1, m, config).bytes <= available
        assert config.kept_bytes > 0
