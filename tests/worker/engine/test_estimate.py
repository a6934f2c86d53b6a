import subprocess
import sys
from pathlib import Path

import pytest

from worker.engine.estimate import estimate
from worker.engine.recursion import FitConfig

PROGRAM = """
import sys, torch
from pathlib import Path
from worker.engine.recursion import FitConfig, iterate
from worker.engine.targets import RegressionTargets
torch.set_num_threads(1)
n, d, c, m = map(int, sys.argv[1:5])
X, Y = torch.randn(n, d), torch.randn(n, c)
config = FitConfig(ridge=float(sys.argv[5]), iterations=1, precision=sys.argv[6])
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
    ("n", "d", "c", "m", "precision"),
    [(4000, 50, 10, 0, "float32"), (6000, 20, 1, 0, "float32"), (4500, 50, 10, 1000, "float64")],
)
def test_estimated_memory_is_what_a_fit_takes_at_its_peak(n, d, c, m, precision):
    arguments = [str(n), str(d), str(c), str(m), "0.1", precision]
    run = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    expected = estimate(n, d, c, m, FitConfig(ridge=0.1, iterations=1, precision=precision)).bytes
    # how much of its freed blocks malloc keeps differs from run to run
    assert int(run.stdout) == pytest.approx(expected, rel=0.3)


def test_work_grows_with_the_cube_of_rows():
    config = FitConfig(ridge=0.1, iterations=1)
    assert estimate(40_000, 10, 1, 0, config).flops / estimate(20_000, 10, 1, 0, config).flops == pytest.approx(
        8, rel=0.1
    )
