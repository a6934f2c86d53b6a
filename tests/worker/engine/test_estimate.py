import subprocess
import sys

import pytest

from worker.engine.estimate import estimate
from worker.engine.recursion import FitConfig

PROGRAM = """
import psutil, resource, sys, torch
from worker.engine.recursion import FitConfig, iterate
from worker.engine.targets import RegressionTargets
torch.set_num_threads(1)
n, d, c, m = map(int, sys.argv[1:5])
X, Y = torch.randn(n, d), torch.randn(n, c)
config = FitConfig(ridge=float(sys.argv[5]), iterations=1, precision=sys.argv[6])
def fit(rows):
    validation = None if m == 0 else (torch.randn(m, d), torch.randn(m, c))
    list(iterate(X[:rows], Y[:rows], RegressionTargets.fit(Y[:rows]), config, validation=validation))
fit(100)
before = psutil.Process().memory_info().rss
fit(n)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


@pytest.mark.parametrize(
    ("n", "d", "c", "m", "precision"), [(6000, 20, 1, 0, "float32"), (4500, 50, 10, 1000, "float64")]
)
def test_estimated_memory_is_what_a_fit_takes_at_its_peak(n, d, c, m, precision):
    arguments = [str(n), str(d), str(c), str(m), "0.1", precision]
    run = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    expected = estimate(n, d, c, m, FitConfig(ridge=0.1, iterations=1, precision=precision)).bytes
    assert int(run.stdout) == pytest.approx(expected, rel=0.3)


def test_work_grows_with_the_cube_of_rows():
    config = FitConfig(ridge=0.1, iterations=1)
    assert estimate(40_000, 10, 1, 0, config).flops / estimate(20_000, 10, 1, 0, config).flops == pytest.approx(
        8, rel=0.1
    )
