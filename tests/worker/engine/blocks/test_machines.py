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


@pytest.mark.parametrize(("scale", "expected"), [(0.5, 1.0), (3.0, None), (-1.0, 0.0), (0.0, 0.0)])
def test_the_share_of_others_is_the_best_for_rows_left_out_and_the_fit_is_of_what_it_leaves_over(scale, expected):
    X, Y = _rows(50)
    targets = RegressionTargets.fit(Y)
    M = torch.eye(4, dtype=torch.float64)
    config = FitConfig(ridge=0.1, bandwidth=1.5, precision="float64")
    noise = torch.randn(50, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    base = scale * (targets.encode(Y) + 0.1 * noise)
    machine = fit_machine(X, Y, targets, config, M, base=base)

    def loss(share):
        left = targets.encode(Y) - share * base
        misses = []
        for row in range(len(X)):
            kept = torch.arange(len(X)) != row
            zeros = torch.zeros(1, dtype=torch.float64)
            model = fit_machine(X[kept], left[kept], RegressionTargets(zeros, zeros + 1), config, M).model
            misses.append(left[row] - model.raw(X[row : row + 1])[0])
        return float(torch.stack(misses).square().mean())

    assert machine.loss == pytest.approx((loss(machine.share),))
    for share in {0.0, max(machine.share - 0.05, 0.0), min(machine.share + 0.05, 1.0), 1.0}:
        assert machine.loss[0] <= loss(share) + 1e-9
    if expected is not None:
        assert machine.share == pytest.approx(expected)
    zeros = torch.zeros(1, dtype=torch.float64)
    left = targets.encode(Y) - machine.share * base
    direct = fit_machine(X, left, RegressionTargets(zeros, zeros + 1), config, M)
    torch.testing.assert_close(machine.model.alpha, direct.model.alpha)
    assert machine.model.targets is targets


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
