import pytest
import torch
from support import naive

from worker.engine.kernels import Kernel, kernel_matrix, median_bandwidth, pair_products


def test_kernel_matrix_equals_its_formula_entry_by_entry(kernel, M, rows):
    X, _ = rows
    expected = torch.stack([torch.stack([naive.kernel_value(x, z, M, kernel, 1.7) for z in X]) for x in X])
    torch.testing.assert_close(kernel_matrix(X, X, M, kernel, 1.7, same=True), expected)
    torch.testing.assert_close(kernel_matrix(X[:5], X, M, kernel, 1.7), expected[:5], atol=1e-7, rtol=1e-7)


def test_derivative_profile_equals_finite_differences(kernel):
    # φ as a function of r, or k of t
    points = torch.linspace(0.3, 2.5, 9, dtype=torch.float64)
    step = 1e-6

    def value(at):
        return kernel.value_(at.square() if kernel.radial else at.clone(), 1.3)

    slope = (value(points + step) - value(points - step)) / (2 * step)
    profile = kernel.profile_(points.square() if kernel.radial else points.clone(), 1.3)
    torch.testing.assert_close(profile, slope / points if kernel.radial else slope, rtol=1e-7, atol=1e-8)


def test_laplace_is_the_generalized_kernel_with_exponent_1(M, rows):
    X, _ = rows
    laplace, generalized = Kernel("laplace"), Kernel("generalized", 1.0)
    torch.testing.assert_close(kernel_matrix(X, X, M, laplace, 2.0), kernel_matrix(X, X, M, generalized, 2.0))
    products = pair_products(X, X, M, laplace, same=True)
    torch.testing.assert_close(laplace.profile_(products.clone(), 2.0), generalized.profile_(products.clone(), 2.0))


def test_gaussian_is_the_generalized_kernel_with_exponent_2_and_another_length(M, rows):
    X, _ = rows
    torch.testing.assert_close(
        kernel_matrix(X, X, M, Kernel("gaussian"), 1.5),
        kernel_matrix(X, X, M, Kernel("generalized", 2.0), 1.5 * 2**0.5),
    )


def test_coincident_rows_have_no_slope(M):
    X = torch.ones(3, 4, dtype=torch.float64)
    for kernel in (Kernel("laplace"), Kernel("generalized", 0.7), Kernel("gaussian")):
        profile = kernel.profile_(pair_products(X, X, M, kernel, same=True), 1.0)
        assert bool((profile == 0).all())


def test_median_bandwidth_is_the_factor_times_the_median_distance(rows):
    X, _ = rows
    M = torch.eye(4, dtype=torch.float64)
    expected = 3.0 * torch.pdist(X).median().item()
    assert median_bandwidth(X, M, Kernel("laplace"), 3.0, torch.arange(len(X))) == pytest.approx(expected)


def test_median_bandwidth_of_one_point_is_the_factor():
    X = torch.ones(4, 2)
    assert median_bandwidth(X, torch.eye(2), Kernel("laplace"), 3.0, torch.arange(4)) == 3.0
