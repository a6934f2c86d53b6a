import pytest
import torch

from worker.engine.config import FitConfig
from worker.engine.explain import gradients, neighbours
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.targets import RegressionTargets

KERNELS = ["laplace", "gaussian", "generalized", "quadratic", "exponential"]


def _fitted(kernel, shape="full", precision="float64"):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(80, 4, generator=generator, dtype=torch.float64) + 3
    Y = torch.stack([X[:, 0] * X[:, 1], X[:, 2].sin(), X[:, 0]], 1)
    config = FitConfig(kernel=kernel, feature_matrix=shape, iterations=2, ridge=1e-2, precision=precision)
    targets = RegressionTargets.fit(Y)
    *_, state = iterate(X, Y, targets, config)
    queries = torch.randn(7, 4, generator=generator, dtype=torch.float64) + 3
    return FittedModel.from_iterate(X, state.best, config, targets), queries


def _differences(model, X):
    """Central differences of ``raw``, (m, d, c)."""
    found = []
    # for a quadratic function they are exact at any step, and rounding counts less at a wide one
    step = 1e-2 if model.kernel.name == "quadratic" else 1e-6
    for column in range(X.shape[1]):
        move = torch.zeros(X.shape[1], dtype=X.dtype)
        move[column] = step
        found.append((model.raw(X + move) - model.raw(X - move)) / (2 * step))
    return torch.stack(found, 1)


@pytest.mark.parametrize("shape", ["full", "diagonal"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_are_the_derivatives_of_the_outputs(kernel, shape):
    model, X = _fitted(kernel, shape)
    expected = _differences(model, X)
    found = gradients(model, X, range(3))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    assert torch.equal(gradients(model, X, [2, 0]), found[:, :, [2, 0]])


@pytest.mark.parametrize("kernel", ["laplace", "generalized"])
def test_at_a_training_row_the_others_alone_have_a_slope(kernel):
    model, _ = _fitted(kernel)
    found = gradients(model, model.X[:3], range(3))
    for row in range(3):
        keep = torch.arange(len(model.X)) != row
        without = FittedModel(model.X[keep], model.alpha[keep], model.M, model.kernel, model.bandwidth, model.targets)
        torch.testing.assert_close(found[row], gradients(without, model.X[row : row + 1], range(3))[0])


@pytest.mark.parametrize("shape", ["full", "diagonal"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_neighbours_are_the_nearest_rows_under_the_metric_with_their_kernel_values(kernel, shape):
    model, X = _fitted(kernel, shape)
    M = torch.diag(model.M) if model.M.ndim == 1 else model.M
    found = neighbours(model, X, 5)
    for row in range(len(X)):
        apart = X[row] - model.X
        distances = ((apart @ M) * apart).sum(1).sqrt()
        nearest = distances.argsort()[:5]
        assert found.rows[row].tolist() == nearest.tolist()
        torch.testing.assert_close(found.distances[row], distances[nearest])
        products = apart @ M @ apart.T if model.kernel.radial else model.X @ M @ X[row]
        values = products.diagonal().clone() if model.kernel.radial else products
        torch.testing.assert_close(found.weights[row], model.kernel.value_(values, model.bandwidth)[nearest])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_training_row_is_its_own_nearest_at_no_distance(precision):
    model, _ = _fitted("laplace", precision=precision)
    found = neighbours(model, model.X[10:13], 1)
    assert found.rows[:, 0].tolist() == [10, 11, 12]
    assert found.distances.max() == 0
    torch.testing.assert_close(found.weights, torch.ones(3, 1, dtype=torch.float64))


def test_of_fewer_training_rows_than_asked_for_all_are_neighbours():
    model, X = _fitted("gaussian")
    assert neighbours(model, X, 200).rows.shape == (7, 80)
