import pytest
import torch

from worker.engine.blocks.machines import at_most, fit_leaf, fit_machine, for_residuals, refit_leaf
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


def _zero_one(c=1):
    zeros = torch.zeros(c, dtype=torch.float64)
    return RegressionTargets(zeros, zeros + 1)


@pytest.mark.parametrize("precision", ["float64", "auto"])
def test_a_leaf_is_a_fit_of_the_targets_and_one_of_what_the_blocks_leave_over(precision):
    X, Y = _rows()
    targets = RegressionTargets.fit(Y)
    M = torch.eye(4, dtype=torch.float64)
    config = FitConfig(precision=precision)
    base = 0.5 * X[:, :1] + targets.encode(Y)
    leaf = fit_leaf(X, Y, targets, config, M, base=base)
    for machine, left in ((leaf.alone, targets.encode(Y)), (leaf.beside, targets.encode(Y) - base)):
        direct = fit_machine(X, left, _zero_one(), for_residuals(config), M)
        assert machine.ridge == direct.ridge
        assert machine.loss == pytest.approx(direct.loss, rel=1e-4)
        torch.testing.assert_close(machine.model.raw(X), direct.model.raw(X), rtol=1e-4, atol=1e-4)
        assert machine.model.targets is targets
    half = leaf.mixed(0.5).model.raw(X)
    torch.testing.assert_close(half, (leaf.alone.model.raw(X) + leaf.beside.model.raw(X)) / 2, rtol=1e-4, atol=1e-5)
    assert leaf.mixed(0.0) is leaf.alone
    assert fit_leaf(X, Y, targets, config, M).mixed(1.0).ridge == fit_machine(X, Y, targets, config, M).ridge


def test_a_leaf_that_float32_cannot_solve_is_solved_in_float64():
    X = torch.cat([_rows(30)[0]] * 2)
    Y = X[:, :1]
    config = FitConfig(bandwidth=1e4, ridge=1e-3, kernel="gaussian")
    leaf = fit_leaf(X, Y, RegressionTargets.fit(Y), config, torch.eye(4, dtype=torch.float64), base=Y / 2)
    assert leaf.alone.model.X.dtype == leaf.beside.model.X.dtype == leaf.beside.model.alpha.dtype
    assert bool(torch.isfinite(leaf.mixed(0.5).model.raw(X)).all())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("with_blocks", [False, True])
def test_a_leaf_fitted_once_more_on_the_same_rows_is_the_mixture_that_it_was(share, with_blocks):
    X, Y = _rows()
    targets, M, config = RegressionTargets.fit(Y), torch.eye(4, dtype=torch.float64), FitConfig(precision="float64")
    base = 0.5 * X[:, :1] if with_blocks else None
    leaf = fit_leaf(X, Y, targets, config, M, base=base)
    again = refit_leaf(X, Y, targets, config, M, 0, leaf, share, base)
    mixed = leaf.mixed(share)
    torch.testing.assert_close(again.model.raw(X), mixed.model.raw(X), rtol=1e-6, atol=1e-8)
    assert (again.ridge, again.loss) == (mixed.ridge, mixed.loss)
    more = torch.cat([X, X + 0.1]), torch.cat([Y, Y]), None if base is None else torch.cat([base, base])
    further = refit_leaf(*more[:2], targets, config, M, 0, leaf, share, more[2])
    assert len(further.model.X) == 240


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
