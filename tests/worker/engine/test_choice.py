import math
from dataclasses import replace

import pytest
import torch

from worker.engine.choice import Candidate, number_of_runs, successive_halving, winner
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError, InvalidConfig
from worker.engine.targets import ClassTargets, RegressionTargets

BASE = FitConfig(kernel="gaussian", ridge=1e-2, iterations=3)


def _smooth(n=600, d=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return X, X[:, :1].sin()


def _runs(encoded, Y, candidates, **options):
    return list(successive_halving(encoded, Y, RegressionTargets.fit(Y), candidates, **options))


def test_the_encoding_that_holds_the_signal_wins():
    X, Y = _smooth()
    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    runs = _runs({"noise": noise, "signal": X}, Y, [Candidate("noise", BASE), Candidate("signal", BASE)])
    assert winner(runs).candidate.encoding == "signal"


def test_only_the_better_third_runs_the_last_lap_on_more_rows():
    X, Y = _smooth(3000)
    widths = (0.01, 0.1, 1.0, 3.0, 10.0, 100.0)
    candidates = [Candidate("x", replace(BASE, bandwidth=width)) for width in widths]
    runs = _runs({"x": X}, Y, candidates)
    first = [run for run in runs if run.rung == 0]
    last = [run for run in runs if run.rung == 1]
    assert [run.candidate for run in first] == candidates
    assert len(runs) == number_of_runs(len(candidates)) == 8
    assert [run.candidate for run in last] == [run.candidate for run in sorted(first, key=lambda h: h.loss)[:2]]
    assert ({run.rows for run in first}, {run.rows for run in last}) == ({1000}, {1500})


def test_the_same_seed_gives_the_same_race_and_the_clock_does_not_matter():
    X, Y = _smooth()
    candidates = [Candidate("x", BASE), Candidate("x", replace(BASE, feature_matrix="diagonal"))]
    one = _runs({"x": X}, Y, candidates, seed=3)
    ticks = iter(range(100))
    other = _runs({"x": X}, Y, candidates, seed=3, clock=lambda: float(next(ticks)))
    assert [replace(run, seconds=None) for run in other] == one
    assert [run.seconds for run in other] == [1.0] * len(other)
    assert [run.loss for run in _runs({"x": X}, Y, candidates, seed=4)] != [run.loss for run in one]


def test_rows_to_validate_on_judge_too():
    X, Y = _smooth()
    held_out = ({"x": X + 100.0}, Y)
    alone = _runs({"x": X}, Y, [Candidate("x", BASE)])
    judged = _runs({"x": X}, Y, [Candidate("x", BASE)], validation=held_out)
    assert judged[0].loss > alone[0].loss


def test_every_class_trains_in_every_lap_however_rare():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    codes = torch.zeros(2000, dtype=torch.int64)
    codes[1990:] = 1
    X[1990:] += 20.0
    runs = list(successive_halving({"x": X}, codes, ClassTargets(2), [Candidate("x", BASE)]))
    assert all(run.loss[0] < 0.01 for run in runs)


def test_a_candidate_that_breaks_down_loses_and_says_why():
    X, Y = _smooth(400)
    X = torch.cat([X, X])
    Y = torch.cat([Y, Y])
    singular = replace(BASE, ridge=0.0, precision="float32")
    runs = _runs({"x": X}, Y, [Candidate("x", singular), Candidate("x", BASE)])
    assert winner(runs).candidate.config.ridge == 1e-2
    assert runs[0].loss == (math.inf,)
    assert "not positive definite" in runs[0].failed
    with pytest.raises(EngineError, match="not positive definite"):
        _runs({"x": X}, Y, [Candidate("x", singular)])


def test_one_row_cannot_be_trained_on_and_judged_by():
    with pytest.raises(InvalidConfig, match="at least 2 rows, not 1"):
        _runs({"x": torch.ones(1, 1)}, torch.ones(1, 1, dtype=torch.float64), [Candidate("x", BASE)])


def test_a_lap_trains_on_so_many_rows_at_most(monkeypatch):
    monkeypatch.setattr("worker.engine.choice.MAX_ROWS", 700)
    X, Y = _smooth(3000)
    runs = _runs({"x": X}, Y, [Candidate("x", BASE)])
    assert [run.rows for run in runs] == [700, 700]
