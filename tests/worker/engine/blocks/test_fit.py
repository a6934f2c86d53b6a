import pytest
import torch

from worker.engine.blocks.fit import block_rows_of, fit_blocks, fit_leaves, learn
from worker.engine.blocks.machines import fit_machine
from worker.engine.config import FitConfig
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets


def _friedman(n, noise_columns=5, seed=0):
    """Friedman 1991: five columns that matter, and some that do not."""
    generator = torch.Generator().manual_seed(seed)
    U = torch.rand(n, 5 + noise_columns, generator=generator, dtype=torch.float64)
    y = 10 * (torch.pi * U[:, 0] * U[:, 1]).sin() + 20 * (U[:, 2] - 0.5).square() + 10 * U[:, 3] + 5 * U[:, 4]
    y += torch.randn(n, generator=generator, dtype=torch.float64)
    return (U - 0.5) * 12**0.5, y.unsqueeze(1)


@pytest.mark.parametrize(
    "config",
    [
        FitConfig(iterations=3, precision="float64"),
        FitConfig(iterations=3, ridge=0.1),
        FitConfig(iterations=2, geometric_average=True, ridge=0.1),
        FitConfig(iterations=2, update="nfa", ridge=0.1, feature_matrix="diagonal"),
        FitConfig(update="none"),
    ],
    ids=["auto", "fact", "geometric", "nfa", "none"],
)
@pytest.mark.parametrize("classes", [False, True])
def test_one_block_and_one_leaf_of_all_rows_are_the_direct_fit(config, classes):
    X, Y = _friedman(300)
    Y = (Y.squeeze(1) > 14).long() if classes else Y
    targets = ClassTargets.fit(Y, 2) if classes else RegressionTargets.fit(Y)
    direct = [state.current for state in iterate(X, Y, targets, config)]
    rounds = list(learn(X, Y, targets, config, block_rows=300, blocks=8, seed=config.seed))
    assert len(rounds) == len(direct)
    for round_, solved in zip(rounds, direct, strict=True):
        assert torch.equal(round_.M, solved.M)
        assert round_.results[0].ridge == solved.ridge
        assert solved.loss is None or round_.loss == solved.loss
    best = min(rounds, key=lambda round_: round_.loss)
    model = fit_blocks(X, Y, targets, config, block_rows=300, leaf_rows=300)
    assert model.tree.leaves == 1
    assert torch.equal(model.M, best.M)
    assert torch.equal(model.leaves[0].alpha, direct[best.iteration].alpha)


def test_patience_ends_the_rounds_as_it_ends_the_recursion():
    X, Y = _friedman(200, noise_columns=10)
    targets = RegressionTargets.fit(Y)
    config = FitConfig(iterations=20, patience=1, ridge=1e-3)
    rounds = list(learn(X, Y, targets, config, 200, 1, 0))
    assert len(rounds) == len(list(iterate(X, Y, targets, config))) < 21


def test_blocks_are_of_equal_size_and_share_no_row():
    blocks = block_rows_of(1000, 300, 8, seed=0)
    assert [len(rows) for rows in blocks] == [250] * 4
    assert torch.equal(torch.cat(blocks).sort().values, torch.arange(1000))
    assert [len(rows) for rows in block_rows_of(1000, 300, 2, seed=0)] == [300, 300]
    assert torch.equal(block_rows_of(1000, 1000, 8, seed=0)[0], torch.arange(1000))


def test_two_fits_by_one_seed_are_one():
    X, Y = _friedman(900)
    targets = RegressionTargets.fit(Y)
    models = [fit_blocks(X, Y, targets, FitConfig(iterations=1), 250, 3, 300, seed=5) for _ in range(2)]
    assert torch.equal(models[0].raw(X), models[1].raw(X))


def test_equal_rows_beyond_a_leaf_are_drawn_from():
    X, Y = _friedman(400)
    X[:] = X[0]
    targets = RegressionTargets.fit(Y)
    model = fit_leaves(
        X, Y, targets, FitConfig(ridge=1.0), torch.eye(10).double(), [], torch.full((400,), -1), 100, 0.1, None, 0
    )
    assert [len(leaf.X) for leaf in model.leaves] == [100]


def test_on_friedmans_function_the_five_columns_stand_out_and_all_rows_are_better_than_one_block():
    X, Y = _friedman(14_000, noise_columns=10)
    rows, held_out, unseen = slice(0, 12_000), slice(12_000, 13_000), slice(13_000, None)
    targets = RegressionTargets.fit(Y[rows])
    config = FitConfig(iterations=3, geometric_average=True, ridges=(1e-2, 0.1, 1.0))
    model = fit_blocks(X[rows], Y[rows], targets, config, 1200, 4, 1500, validation=(X[held_out], Y[held_out]))
    assert set(model.importance().argsort(descending=True)[:5].tolist()) == set(range(5))
    assert set(model.M.diagonal().argsort(descending=True)[:5].tolist()) == set(range(5))
    alone = fit_blocks(X[:1200], Y[:1200], targets, config, 1200, 1, 1500)

    def rmse(fitted):
        return float((fitted.predict(X[unseen]) - Y[unseen]).square().mean().sqrt())

    assert rmse(model) < rmse(alone)
    # the noise alone is 1
    assert rmse(model) < 1.1


def test_rows_that_choose_give_every_round_the_loss_of_its_blocks_on_them():
    X, Y = _friedman(800)
    targets = RegressionTargets.fit(Y)
    held_out = (X[600:], Y[600:])
    config = FitConfig(iterations=1, precision="float64")
    for round_ in learn(X[:600], Y[:600], targets, config, 300, 2, 0, held_out):
        losses = []
        for rows, result in zip(block_rows_of(600, 300, 2, 0), round_.results, strict=True):
            fixed = FitConfig(ridge=result.ridge, bandwidth=result.bandwidth, precision="float64")
            model = fit_machine(X[rows], Y[rows], targets, fixed, round_.M).model
            losses.append(targets.loss(model.raw(held_out[0]), held_out[1])[0])
        assert round_.loss == pytest.approx((sum(losses) / 2,))
