from dataclasses import replace

import pytest
import torch

from worker.engine import explain
from worker.engine.blocks.answers import MachineList
from worker.engine.blocks.explain import gradients, neighbours
from worker.engine.blocks.fit import fit_blocks
from worker.engine.blocks.tree import weights
from worker.engine.config import FitConfig
from worker.engine.targets import RegressionTargets

KERNELS = ["laplace", "gaussian", "generalized", "quadratic", "exponential"]
BLENDS = [(0.0, 0.5), (0.4, 0.5), (0.8, 1.0), (0.4, 0.0)]


def _rows(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=generator, dtype=torch.float64)


def _fitted(kernel="generalized", shape="full", precision="float64", blend=(0.4, 0.5), X=None):
    X = _rows(400) if X is None else X
    Y = torch.stack([X[:, 0] * X[:, 1], X[:, 2].sin(), X[:, 0]], 1)
    targets = RegressionTargets.fit(Y)
    config = FitConfig(kernel=kernel, feature_matrix=shape, iterations=1, ridge=1e-2, precision=precision)
    model = fit_blocks(X, Y, targets, config, 60, 3, 120, seed=0)
    temperature, share = blend
    return replace(model, temperature=temperature, share=share, blocks=model.blocks if share else MachineList(()))


def _smooth(model, X, step):
    """Rows of X near which the answer does not jump: the same leaves answer on all sides."""
    moves = torch.cat([torch.eye(X.shape[1]), -torch.eye(X.shape[1])]).double() * step
    around = torch.stack([X, *(X + move for move in moves)])
    leaves, shares = weights(model.tree, around.reshape(-1, X.shape[1]), model.temperature)
    answering = torch.where(shares > 0, leaves, -1).reshape(len(around), len(X), -1)
    answering = answering.sort(2).values
    return (answering == answering[0]).all(2).all(0)


def _differences(model, X, step):
    """Central differences of ``raw``, (m, d, c)."""
    moves = torch.eye(X.shape[1], dtype=X.dtype) * step
    return torch.stack([(model.raw(X + move) - model.raw(X - move)) / (2 * step) for move in moves], 1)


@pytest.mark.parametrize("shape", ["full", "diagonal"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("blend", BLENDS)
def test_gradients_are_the_derivatives_of_the_answers(kernel, shape, blend):
    model = _fitted(kernel, shape, blend=blend)
    assert model.tree.leaves > 3
    X, step = _rows(60, seed=1), 1e-5
    X = X[_smooth(model, X, step)]
    found = gradients(model, X, range(3))
    expected = _differences(model, X, step)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    assert torch.equal(gradients(model, X, [2, 0]), found[:, :, [2, 0]])
    several = (weights(model.tree, X, model.temperature)[1] > 0).sum(1) > 1
    assert bool(several.any()) == (blend[0] > 0), "rows near a cut and far from it are both tried"


def test_gradients_of_float32_machines_are_those_of_the_same_machines_in_float64():
    model = _fitted("gaussian", precision="float32")
    X = _rows(40, seed=1).float().double()

    def wide(machines):
        return MachineList(replace(one, X=one.X.double(), alpha=one.alpha.double()) for one in machines)

    exact = replace(model, leaves=wide(model.leaves), blocks=wide(model.blocks))
    expected = gradients(exact, X, range(3))
    found = gradients(model, X, range(3))
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))


def test_the_gradients_of_a_row_do_not_depend_on_the_rows_beside_it():
    model = _fitted(precision="float32")
    X = _rows(40, seed=1)
    alone = torch.cat([gradients(model, row.unsqueeze(0), [1]) for row in X])
    torch.testing.assert_close(alone, gradients(model, X, [1]), rtol=1e-3, atol=1e-4)


def test_one_leaf_is_explained_as_its_machine():
    X = _rows(100)
    Y = X[:, :1].sin()
    targets = RegressionTargets.fit(Y)
    model = fit_blocks(X, Y, targets, FitConfig(iterations=1, ridge=1e-2, precision="float64"), 200, 1, 200)
    assert (len(model.leaves), len(model.blocks)) == (1, 0)
    asked = _rows(9, seed=1)
    torch.testing.assert_close(gradients(model, asked, [0]), explain.gradients(model.leaves[0], asked, [0]))
    near = explain.neighbours(model.leaves[0], asked, 5)
    found = neighbours(model, asked, 5)
    assert [[one.row for one in line] for line in found] == near.rows.tolist()
    assert {one.machine for line in found for one in line} == {0}
    torch.testing.assert_close(torch.tensor([[one.weight for one in line] for line in found]).double(), near.weights)


def _answering(model, x):
    """Machines that answer a row, by hand: number, factor, machine, largest factor first."""
    leaves, shares = weights(model.tree, x.unsqueeze(0), model.temperature)
    machines = [
        (leaf, share, model.leaves[leaf])
        for leaf, share in zip(leaves[0].tolist(), shares[0].tolist(), strict=True)
        if share > 0
    ]
    for number, block in enumerate(model.blocks):
        machines.append((len(model.leaves) + number, model.share / len(model.blocks), block))
    return sorted(machines, key=lambda entry: (-entry[1], entry[0] >= len(model.leaves)))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kernel", ["laplace", "gaussian", "quadratic"])
@pytest.mark.parametrize("blend", BLENDS)
def test_neighbours_are_the_nearest_rows_of_the_machines_that_answer_each_once(kernel, precision, blend):
    model = _fitted(kernel, precision=precision, blend=blend)
    asked = _rows(30, seed=1)
    for x, found in zip(asked, neighbours(model, asked, 7), strict=True):
        # rows of this table differ, so a row is known by its values
        expected = {}
        for number, _, machine in _answering(model, x):
            apart = x.to(machine.X.dtype).double() - machine.X.double()
            distances = ((apart @ model.M) * apart).sum(1).clamp(min=0).sqrt()
            for row, (values, distance) in enumerate(zip(machine.X.float(), distances.tolist(), strict=True)):
                expected.setdefault(tuple(values.tolist()), (distance, number, row))
        nearest = sorted(expected.values())[:7]
        assert [(one.machine, one.row) for one in found] == [(number, row) for _, number, row in nearest]
        assert [one.distance for one in found] == pytest.approx([distance for distance, *_ in nearest], rel=1e-3)
        machines = [*model.leaves, *model.blocks]
        for one in found:
            machine = machines[one.machine]
            z, query = machine.X[one.row].double(), x.to(machine.X.dtype).double()
            product = (query - z) @ model.M @ (query - z) if machine.kernel.radial else query @ model.M @ z
            value = machine.kernel.value_(product.reshape(1).clone(), machine.bandwidth)
            assert one.weight == pytest.approx(float(value), rel=1e-3)


def test_a_row_near_a_cut_that_trained_both_leaves_is_named_once():
    model = _fitted(blend=(0.8, 1.0))
    assert sum(len(leaf.X) for leaf in model.leaves) > 400
    shared = [row for row in _rows(400) if sum(bool((row == leaf.X).all(1).any()) for leaf in model.leaves) > 1]
    assert shared
    for row, found in zip(shared, neighbours(model, torch.stack(shared), 3), strict=True):
        assert [one.distance == 0 for one in found] == [True, False, False]
        assert found[0].weight == 1
        machines = [*model.leaves, *model.blocks]
        assert torch.equal(machines[found[0].machine].X[found[0].row], row)


@pytest.mark.parametrize("blend", BLENDS)
def test_equal_training_rows_are_neighbours_of_their_own(blend):
    X = _rows(200).repeat(2, 1)
    model = _fitted(blend=blend, X=X)
    for found in neighbours(model, X[:20], 3):
        assert [one.distance == 0 for one in found] == [True, True, False]
        assert (found[0].machine, found[0].row) != (found[1].machine, found[1].row)


def test_of_fewer_training_rows_than_asked_for_all_are_neighbours():
    model = _fitted(blend=(0.0, 0.0))
    [found] = neighbours(model, _rows(1, seed=1), 10_000)
    assert len(found) == len(model.leaves[found[0].machine].X)
    assert neighbours(model, _rows(2, seed=1), 0) == [[], []]
