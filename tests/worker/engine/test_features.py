import pytest
import torch
from support import naive

from worker.engine import features
from worker.engine.kernels import KernelPoints, kernel_of


def _diagonal_of(expected, M):
    return expected.diagonal() if M.ndim == 1 else expected


@pytest.mark.parametrize("block", [5, 128])
def test_fact_equals_its_definition_for_every_kernel(kernel, M, rows, block):
    X, alpha = rows
    J = naive.jacobians(X, M, alpha, kernel, 1.7)
    # FACT = Σᵢ J_f(xᵢ)ᵀ αᵢ xᵢᵀ
    expected = torch.einsum("icd,ic,ie->de", J, alpha, X)
    torch.testing.assert_close(
        features.fact(KernelPoints(X, M, kernel, (block, block + 3)), alpha, 1.7), _diagonal_of(expected, M)
    )


@pytest.mark.parametrize("centered", [False, True])
def test_agop_equals_the_mean_of_jacobian_products(kernel, M, rows, centered):
    X, alpha = rows
    J = naive.jacobians(X, M, alpha, kernel, 1.7)
    if centered:
        J = J - J.mean(0)
    expected = torch.einsum("icd,ice->de", J, J) / len(X)
    found = features.agop(KernelPoints(X, M, kernel, (5, 8)), alpha, 1.7, centered=centered, block_rows=5)
    torch.testing.assert_close(found, _diagonal_of(expected, M))


def test_rows_that_occur_twice_give_finite_features(kernel, M, rows):
    X, alpha = rows
    X, alpha = torch.cat([X, X]), torch.cat([alpha, alpha])
    assert bool(torch.isfinite(features.fact(KernelPoints(X, M, kernel), alpha, 1.7)).all())
    assert bool(torch.isfinite(features.agop(KernelPoints(X, M, kernel), alpha, 1.7)).all())


def test_matrix_power_inverts_itself_and_cuts_negative_eigenvalues():
    A = torch.randn(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    S = A @ A.T
    torch.testing.assert_close(features.matrix_power(features.matrix_power(S, 0.25), 4.0), S)
    negative = torch.diag(torch.tensor([4.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(
        features.matrix_power(negative, 0.5), torch.diag(torch.tensor([2.0, 0.0], dtype=torch.float64))
    )


def test_plain_update_is_the_square_root_of_f_times_its_transpose():
    F = torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    following = features.next_from_fact(F, torch.eye(4), geometric=False)
    torch.testing.assert_close(following @ following, F @ F.T)


def test_geometric_update_has_the_fourth_power_that_the_formula_says():
    generator = torch.Generator().manual_seed(2)
    F = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    W = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    M = W.T @ W
    following = features.next_from_fact(F, M, geometric=True)
    torch.testing.assert_close(torch.linalg.matrix_power(following, 4), F @ M @ M @ F.T)


@pytest.fixture
def wide():
    """X (5, 9), alpha (5, 3) and M (9, 9): fewer rows than columns."""
    generator = torch.Generator().manual_seed(5)
    X = torch.randn(5, 9, generator=generator, dtype=torch.float64)
    W = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    return X, torch.randn(5, 3, generator=generator, dtype=torch.float64), W.T @ W / 9


def test_fact_updates_of_few_rows_are_those_of_the_whole_matrix(kernel, wide):
    X, alpha, M = wide
    points = KernelPoints(X, M, kernel)
    F = features.fact(points, alpha, 1.7)
    following = features.next_from_few_rows(points, alpha, 1.7, M)
    # the dense way takes the root of squared singular values, which leaves half of the digits
    scale = float(following.abs().max())
    torch.testing.assert_close(following, features.next_from_fact(F, M, geometric=False), rtol=1e-6, atol=1e-6 * scale)
    torch.testing.assert_close(following @ following, F @ F.T, rtol=1e-9, atol=1e-12 * scale**2)
    geometric = features.next_from_few_rows(points, alpha, 1.7, M, geometric=True)
    fourth = F @ M @ M @ F.T
    found = torch.linalg.matrix_power(geometric, 4)
    torch.testing.assert_close(found, fourth, rtol=1e-9, atol=1e-12 * float(fourth.abs().max()))


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_powers_of_agop_of_few_rows_are_those_of_the_whole_matrix(kernel, wide, power, centered):
    X, alpha, M = wide
    points = KernelPoints(X, M, kernel)
    expected = features.matrix_power(features.agop(points, alpha, 1.7, centered=centered), power)
    found = features.agop_power_of_few_rows(points, alpha, 1.7, power, centered=centered)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_rows_that_occur_twice_and_no_signal_are_no_trouble_to_few_rows(wide):
    X, alpha, M = wide
    X, alpha = torch.cat([X[:3], X[:3]]), torch.cat([alpha[:3], alpha[:3]])
    points = KernelPoints(X, M, kernel_of("laplace"))
    assert bool(torch.isfinite(features.next_from_few_rows(points, alpha, 1.7, M)).all())
    nothing = torch.zeros_like(alpha)
    assert not bool(features.next_from_few_rows(points, nothing, 1.7, M).any())
    assert not bool(features.agop_power_of_few_rows(points, nothing, 1.7, 1.0).any())


@pytest.mark.parametrize("geometric", [False, True])
def test_diagonal_updates_are_the_full_ones_of_diagonal_matrices(geometric):
    generator = torch.Generator().manual_seed(2)
    f = torch.randn(4, generator=generator, dtype=torch.float64)
    m = torch.rand(4, generator=generator, dtype=torch.float64)
    full = features.next_from_fact(torch.diag(f), torch.diag(m), geometric=geometric)
    torch.testing.assert_close(torch.diag(features.next_from_fact(f, m, geometric=geometric)), full)


def test_scale_control():
    M = torch.diag(torch.tensor([1.0, 4.0, 5.0]))
    assert float(features.rescaled(M, "trace").trace()) == pytest.approx(3)
    assert float(features.rescaled(M, "max").max()) == pytest.approx(1)
    assert features.rescaled(M, "none") is M
