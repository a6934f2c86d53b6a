import pytest
import torch

from worker.engine.errors import NonFiniteValues, NotPositiveDefinite
from worker.engine.solvers import cholesky


def _system(n=20, c=2):
    generator = torch.Generator().manual_seed(5)
    A = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return A @ A.T / n, torch.randn(n, c, generator=generator, dtype=torch.float64)


def test_solution_satisfies_the_system_and_the_residual_is_ridge_times_alpha():
    K, Y = _system()
    alpha = cholesky.solve(cholesky.cholesky_(K.clone(), 0.3), Y)
    torch.testing.assert_close((K + 0.3 * torch.eye(20, dtype=K.dtype)) @ alpha, Y)
    torch.testing.assert_close(Y - K @ alpha, 0.3 * alpha)


def test_factor_lies_in_the_memory_of_the_kernel_matrix():
    K, _ = _system()
    assert cholesky.cholesky_(K, 0.3).data_ptr() == K.data_ptr()


@pytest.mark.parametrize("block", [1, 7, 20, 512])
def test_inverse_diagonal_is_that_of_the_inverse(block):
    K, _ = _system()
    expected = torch.linalg.inv(K + 0.3 * torch.eye(20, dtype=K.dtype)).diagonal()
    torch.testing.assert_close(cholesky.inverse_diagonal(cholesky.cholesky_(K.clone(), 0.3), block), expected)


def test_only_the_upper_triangle_of_the_kernel_matrix_is_read():
    K, Y = _system()
    half = torch.where(torch.ones_like(K).triu() > 0, K, torch.nan)
    torch.testing.assert_close(
        cholesky.solve(cholesky.cholesky_(half, 0.3), Y), cholesky.solve(cholesky.cholesky_(K, 0.3), Y)
    )


def test_leave_one_out_residuals_equal_those_of_refits():
    K, Y = _system()
    factor = cholesky.cholesky_(K.clone(), 0.3)
    found = cholesky.leave_one_out_residuals(factor, cholesky.solve(factor, Y))
    for left_out in range(20):
        kept = [index for index in range(20) if index != left_out]
        alpha = torch.linalg.solve(K[kept][:, kept] + 0.3 * torch.eye(19, dtype=K.dtype), Y[kept])
        torch.testing.assert_close(found[left_out], Y[left_out] - K[left_out, kept] @ alpha)


def test_a_singular_system_is_said_to_be_one():
    with pytest.raises(NotPositiveDefinite, match="raise the ridge"):
        cholesky.cholesky_(torch.ones(3, 3), 0.0)


def test_not_a_number_is_drop_non_finite_from_not_positive_definite():
    with pytest.raises(NonFiniteValues):
        cholesky.cholesky_(torch.full((3, 3), torch.nan), 1.0)
