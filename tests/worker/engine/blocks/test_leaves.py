import pytest
import torch

from worker.engine.blocks.leaves import at_most, fit_leaf
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
    leaf = fit_leaf(X, Y, targets, config, W.T @ W)
    *_, state = iterate(X, Y, targets, config, M=W.T @ W)
    assert torch.equal(leaf.model.alpha, state.current.alpha)
    assert leaf.ridge == state.current.ridge
    assert len(leaf.loss) == 1


def test_a_leaf_without_some_classes_scores_all_of_them():
    X, Y = _rows()
    codes = (Y.squeeze(1) > 0).long()
    leaf = fit_leaf(X, codes, ClassTargets.fit(torch.cat([codes, codes + 1]), 3), FitConfig(), torch.eye(4).double())
    assert leaf.model.raw(X).shape == (120, 3)


def test_too_many_rows_are_drawn_from_in_their_order():
    rows = torch.arange(100) * 2
    assert torch.equal(at_most(rows, 100, 0), rows)
    drawn = at_most(rows, 30, 0)
    assert len(drawn) == 30
    assert torch.equal(drawn, drawn.sort().values)
    assert set(drawn.tolist()) <= set(rows.tolist())
    assert torch.equal(drawn, at_most(rows, 30, 0))
