import pytest
import torch

from worker.engine.config import FitConfig
from worker.engine.errors import InvalidConfig, NonFiniteValues, NotConverged
from worker.engine.kernels import KernelPoints, kernel_of
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.solvers import cholesky, conjugate
from worker.engine.targets import RegressionTargets

KERNELS = [
    kernel_of("laplace"),
    kernel_of("gaussian"),
    kernel_of("generalized", 1.3),
    kernel_of("quadratic"),
    kernel_of("exponential"),
]


def _rows(n=700, d=4, c=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return X, torch.randn(n, c, generator=generator, dtype=torch.float64)


def _operator(X, kernel, kept_bytes=None):
    return conjugate.KernelOperator(
        KernelPoints(X, torch.eye(X.shape[1], dtype=X.dtype), kernel, (64, 256)), 2.0, kept_bytes
    )


def _dense(K):
    upper = K.points.triangle(K.bandwidth).triu()
    return upper + upper.triu(1).T


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_the_operator_is_the_kernel_matrix(kernel):
    X, V = _rows()
    K = _operator(X, kernel)
    dense = _dense(K)
    torch.testing.assert_close(K @ V, dense @ V)
    torch.testing.assert_close(K.diagonal(), dense.diagonal())
    chosen = torch.tensor([5, 0, 699])
    torch.testing.assert_close(K.columns(chosen), dense[:, chosen])


@pytest.mark.parametrize("kept_bytes", [0, 2**20, None])
def test_how_much_is_kept_changes_nothing(kept_bytes):
    X, V = _rows()
    K = _operator(X, KERNELS[2], kept_bytes)
    first, second = K @ V, K @ V
    assert torch.equal(first, second)
    assert torch.equal(first, _operator(X, KERNELS[2]) @ V)
    kept = sum(tile.numel() * tile.element_size() for tile in K._kept.values())
    assert kept_bytes is None or kept <= kept_bytes
    assert (kept > 0) == (kept_bytes != 0)


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_the_solution_is_that_of_the_factorisation(kernel, ridge):
    X, Y = _rows()
    K = _operator(X, kernel)
    preconditioner = conjugate.Preconditioner(K, 200, torch.Generator().manual_seed(0))
    found = conjugate.solve(K, Y, ridge, preconditioner, tolerance=1e-9, max_steps=2000)
    direct = cholesky.solve(cholesky.cholesky_(_dense(K), ridge), Y)
    torch.testing.assert_close(found.alpha, direct, rtol=1e-5, atol=1e-6 * float(direct.abs().max()))
    torch.testing.assert_close(
        found.residual, Y - (_dense(K) @ found.alpha + ridge * found.alpha), atol=1e-7, rtol=1e-5
    )
    assert found.relative_residual <= 1e-9


def test_the_preconditioner_inverts_what_its_factor_spans():
    X, V = _rows(300)
    K = _operator(X, KERNELS[1])
    preconditioner = conjugate.Preconditioner(K, 300, torch.Generator().manual_seed(0))
    system = _dense(K) + 0.5 * torch.eye(300, dtype=X.dtype)
    torch.testing.assert_close(system @ (preconditioner.at(0.5) @ V), V, rtol=1e-3, atol=1e-3)


def test_a_larger_rank_takes_fewer_steps():
    X, Y = _rows(1500, 3)
    K = _operator(X, KERNELS[1])
    steps = []
    for rank in (10, 100, 1000):
        preconditioner = conjugate.Preconditioner(K, rank, torch.Generator().manual_seed(0))
        steps.append(conjugate.solve(K, Y, 1e-2, preconditioner, tolerance=1e-6, max_steps=2000).steps)
    assert steps[0] > steps[1] > steps[2]


def test_equal_rows_do_not_stop_the_partial_factor():
    X, Y = _rows(100)
    X, Y = X.repeat(5, 1), Y.repeat(5, 1)
    K = _operator(X, KERNELS[0])
    preconditioner = conjugate.Preconditioner(K, 500, torch.Generator().manual_seed(0))
    found = conjugate.solve(K, Y, 1e-2, preconditioner, tolerance=1e-6, max_steps=500)
    assert found.relative_residual <= 1e-6


def test_a_zero_column_is_solved_by_zero_and_a_start_is_used():
    X, Y = _rows()
    Y[:, 1] = 0.0
    K = _operator(X, KERNELS[0])
    preconditioner = conjugate.Preconditioner(K, 100, torch.Generator().manual_seed(0))
    found = conjugate.solve(K, Y, 0.1, preconditioner, tolerance=1e-6, max_steps=500)
    assert not found.alpha[:, 1].any()
    again = conjugate.solve(K, Y, 0.1, preconditioner, tolerance=1e-5, max_steps=500, start=found.alpha)
    assert again.steps == 0


def test_what_does_not_converge_is_said_with_its_figures():
    X, Y = _rows()
    K = _operator(X, KERNELS[0])
    preconditioner = conjugate.Preconditioner(K, 10, torch.Generator().manual_seed(0))
    with pytest.raises(NotConverged, match=r"relative residual of .* after 3 steps with ridge 1e-06, not 1e-08"):
        conjugate.solve(K, Y, 1e-6, preconditioner, tolerance=1e-8, max_steps=3)
    with pytest.raises(NonFiniteValues):
        conjugate.solve(K, Y * 1e308 * 10, 1e-6, preconditioner, tolerance=1e-8, max_steps=3)


def _fit(config):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(900, 6, generator=generator, dtype=torch.float64)
    Y = (X[:, :1] * X[:, 1:2]) + 0.1 * torch.randn(900, 1, generator=generator, dtype=torch.float64)
    targets = RegressionTargets.fit(Y)
    states = list(iterate(X[:700], Y[:700], targets, config, validation=(X[700:], Y[700:])))
    return states, FittedModel.from_iterate(X[:700], states[-1].best, config, targets).predict(X[700:]), Y[700:]


@pytest.mark.parametrize("ridge", [0.1, "auto"])
def test_the_whole_recursion_agrees_with_the_direct_solver(ridge):
    direct_states, direct, truth = _fit(FitConfig(ridge=ridge, iterations=3))
    states, found, _ = _fit(FitConfig(ridge=ridge, iterations=3, solver="cg", rank=100))
    assert [state.current.ridge for state in states] == [state.current.ridge for state in direct_states]
    rmse = [float((answer - truth).square().mean().sqrt()) for answer in (direct, found)]
    assert rmse[1] == pytest.approx(rmse[0], rel=2e-3)
    metrics = states[-1].current.metrics
    assert metrics["solve_steps"] > 0
    assert 0 < metrics["solve_residual"] <= 1e-3
    expected = direct_states[-1].current.metrics
    assert metrics["train_rmse"] == pytest.approx(expected["train_rmse"], abs=1e-3)


def test_a_ridge_that_does_not_converge_is_skipped_and_said():
    states, _, _ = _fit(FitConfig(ridge="auto", ridges=(1e-6, 1.0), iterations=0, solver="cg", rank=20, max_steps=12))
    assert states[0].skipped_ridges == (1e-6,)
    assert states[0].current.ridge == 1.0


def test_options_that_cannot_work_are_refused():
    with pytest.raises(InvalidConfig, match="needs a ridge above 0"):
        FitConfig(solver="cg", ridge=0.0)
    with pytest.raises(InvalidConfig, match=r"tolerance must lie in \(0, 1\), not 2"):
        FitConfig(tolerance=2.0)
    X, Y = _rows(50, c=1)
    with pytest.raises(InvalidConfig, match="needs validation rows"):
        list(iterate(X, Y, RegressionTargets.fit(Y), FitConfig(solver="cg")))
