import pytest
import torch

from worker.engine.blocks.machines import at_most, fit_machine, for_residuals
from worker.engine.config import FitConfig
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets


def _rows(n=120):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return X, (X[:, :1] * X[:, 1:2]).sin()


@pytest.mark.parametrize("ridge", ["auto", 0.1])
def test_a_leaf_is_the_direct_fit_of_its_rows_at_the_given_metric(ridge):
    X, Y = _rows()
    targets = RegressionTargets.fit(Y)
    W = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    config = FitConfig(ridge=ridge, iterations=0, precision="float64")
    leaf = fit_machine(X, Y, targets, config, W.T @ W)
    *_, state = iterate(X, Y, targets, config, M=W.T @ W)
    assert torch.equal(leaf.model.alpha, state.current.alpha)
    assert leaf.ridge == state.current.ridge
    assert len(leaf.loss) == 1


def test_a_leaf_without_some_classes_scores_all_of_them():
    X, Y = _rows()
    codes = (Y.squeeze(1) > 0).long()
    leaf = fit_machine(X, codes, ClassTargets.fit(torch.cat([codes, codes + 1]), 3), FitConfig(), torch.eye(4).double())
    assert leaf.model.raw(X).shape == (120, 3)


def test_what_others_leave_over_is_fitted_and_the_answers_add():
    X, Y = _rows()
    targets = RegressionTargets.fit(Y)
    M = torch.eye(4, dtype=torch.float64)
    config = FitConfig(ridge=0.1, precision="float64")
    base = 0.5 * X[:, :1]
    left = fit_machine(X, Y, targets, config, M, base=base)
    direct = fit_machine(X, targets.decode(targets.encode(Y) - base), targets, config, M)
    torch.testing.assert_close(left.model.alpha, direct.model.alpha)
    assert left.loss == pytest.approx(direct.loss)
    assert left.model.targets is targets


def test_noise_that_is_left_over_may_have_a_larger_ridge():
    assert for_residuals(FitConfig()).ridges == (*FitConfig().ridges, 100.0)
    assert for_residuals(FitConfig(ridge=0.1)) == FitConfig(ridge=0.1)


def test_too_many_rows_are_drawn_from_in_their_order():
    rows = torch.arange(100) * 2
    assert torch.equal(at_most(rows, 100, 0), rows)
    drawn = at_most(rows, 30, 0)
    assert len(drawn) == 30
    assert torch.equal(drawn, drawn.sort().values)
    assert set(drawn.tolist()) <= set(rows.tolist())
    assert torch.equal(drawn, at_most(rows, 30, 0))
