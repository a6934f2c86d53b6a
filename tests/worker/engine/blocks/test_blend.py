import pytest
import torch

from worker.engine.blocks.answers import Answers, mean_outputs
from worker.engine.blocks.blend import SHARES, TEMPERATURES, choose_blend
from worker.engine.blocks.machines import fit_leaf, fit_machine
from worker.engine.blocks.model import BlocksModel
from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import assign
from worker.engine.config import FitConfig
from worker.engine.targets import ClassTargets, RegressionTargets


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("with_blocks", [False, True])
def test_the_blend_is_that_with_the_least_loss_of_the_whole_model_on_held_out_rows(classes, with_blocks):
    X = torch.randn(700, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    Y = (X[:, :1] * X[:, 1:2]).sin() + X[:, 2:3]
    Y = (Y.squeeze(1) > 0).long() if classes else Y
    targets = ClassTargets.fit(Y, 2) if classes else RegressionTargets.fit(Y)
    M = torch.eye(4, dtype=torch.float64)
    config = FitConfig(ridge=0.1)
    rows, held_out = slice(0, 500), slice(500, None)
    blocks = [fit_machine(X[k:500:2], Y[k:500:2], targets, config, M) for k in (0, 1)] if with_blocks else []
    tree, _ = grow(X[rows], M, 150)
    assignment = assign(tree, X[rows])
    leaves = []
    for number in range(tree.leaves):
        own = assignment.of(number)
        base = blocks[0].model.raw(X[own]).double() if with_blocks else None
        leaves.append(fit_leaf(X[own], Y[own], targets, config, M, base=base))
    base = mean_outputs([Answers(block.model) for block in blocks], X[held_out]) if with_blocks else None
    chosen, answered, tried = choose_blend(tree, iter(leaves), base, X[held_out], Y[held_out], targets)
    shares = SHARES if with_blocks else (0.0,)
    assert [(blend.share, blend.temperature) for blend in tried] == [(s, t) for s in shares for t in TEMPERATURES]
    for blend in tried:
        model = BlocksModel.of(tree, leaves, blocks, blend.share, blend.temperature, torch.ones(4).double())
        assert blend.loss == pytest.approx(targets.loss(model.raw(X[held_out]), Y[held_out]), rel=1e-5)
    assert chosen.loss == min(blend.loss for blend in tried)
    model = BlocksModel.of(tree, leaves, blocks, chosen.share, chosen.temperature, torch.ones(4).double())
    torch.testing.assert_close(answered, model.raw(X[held_out]), rtol=1e-4, atol=1e-5)
