import pytest
import torch

from worker.engine.blocks.answers import TILE_ROWS, Answers, mean_outputs
from worker.engine.kernels import kernel_of
from worker.engine.model import FittedModel
from worker.engine.targets import RegressionTargets


def _leaf(kernel, n, d, c, dtype, diagonal=False):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, d, generator=generator, dtype=dtype) / 3
    W = torch.randn(d, d, generator=generator, dtype=torch.float64)
    M = W.square().sum(0) / d if diagonal else W.T @ W / d
    targets = RegressionTargets(torch.zeros(c, dtype=torch.float64), torch.ones(c, dtype=torch.float64))
    return FittedModel(X, torch.randn(n, c, generator=generator, dtype=dtype), M, kernel, 1.7, targets)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_leaf_answers_as_its_kernel_machine_does(kernel, dtype, diagonal):
    model = _leaf(kernel, 70, 5, 2, dtype, diagonal)
    Q = torch.randn(TILE_ROWS + 3, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)
    torch.testing.assert_close(Answers(model)(Q).to(dtype), model.raw(Q), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("d", [1, 3, 9, 11, 17, 31, 54])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_has_the_same_bits_at_every_place_of_a_tile(kernel, dtype, d):
    for n, c in ((37, 1), (300, 3), (641, 10)):
        answers = Answers(_leaf(kernel, n, d, c, dtype))
        row = torch.randn(1, d, generator=torch.Generator().manual_seed(2), dtype=dtype)
        found = answers(row.expand(2 * TILE_ROWS + 5, d))
        assert bool((found == found[0]).all())
        beside = torch.cat([torch.randn(9, d, generator=torch.Generator().manual_seed(3), dtype=dtype), row])
        assert torch.equal(answers(beside)[9], found[0])


def test_no_rows_have_no_answers(kernel):
    assert Answers(_leaf(kernel, 37, 3, 2, torch.float32))(torch.zeros(0, 3)).shape == (0, 2)


def test_the_mean_of_machines_leaves_out_the_one_that_a_row_has_trained():
    machines = [Answers(_leaf(kernel_of("generalized", 1.3), n, 3, 2, torch.float64)) for n in (37, 50, 64)]
    Q = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    each = torch.stack([machine(Q) for machine in machines])
    torch.testing.assert_close(mean_outputs(machines, Q), each.mean(0))
    own = torch.arange(40) % 4 - 1
    found = mean_outputs(machines, Q, own)
    for row, number in enumerate(own.tolist()):
        others = [machine for machine in range(3) if machine != number]
        torch.testing.assert_close(found[row], each[others, row].mean(0))
