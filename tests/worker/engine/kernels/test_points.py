import pytest
import torch
from support import naive

from worker.engine.kernels import KernelPoints, kernel_of, median_bandwidth


def _between(X, Z, M, kernel, bandwidth):
    return kernel.value_(KernelPoints(Z, M, kernel).products(X), bandwidth)


def test_kernel_matrix_equals_its_formula_entry_by_entry(kernel, M, rows):
    X, _ = rows
    expected = torch.stack([torch.stack([naive.kernel_value(x, z, M, kernel, 1.7) for z in X]) for x in X])
    torch.testing.assert_close(KernelPoints(X, M, kernel, (5, 5 + 3)).triangle(1.7).triu(), expected.triu())
    torch.testing.assert_close(_between(X[:5], X, M, kernel, 1.7), expected[:5], atol=1e-7, rtol=1e-7)


def test_tiles_cover_every_pair_once():
    points = KernelPoints(torch.zeros(17, 1), torch.eye(1), kernel_of("laplace"), (2, 2 + 3))
    seen = torch.zeros(17, 17)
    for rows, columns in points.tiles():
        assert columns.start >= rows.start
        seen[rows, columns] += 1
    assert torch.equal(seen.triu(), torch.ones(17, 17).triu())


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_moving_all_rows_changes_no_distance(precision):
    X = torch.randint(-3, 4, (30, 4), generator=torch.Generator().manual_seed(0)).to(precision)
    M = torch.eye(4, dtype=precision)
    whole = slice(0, 30)
    here = KernelPoints(X, M, kernel_of("laplace")).own_products(whole, whole)
    there = KernelPoints(X + 2048, M, kernel_of("laplace")).own_products(whole, whole)
    torch.testing.assert_close(there, here, atol=1e-3, rtol=0)
    torch.testing.assert_close(here, torch.cdist(X, X).square(), atol=1e-3, rtol=0)


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
    laplace, generalized = kernel_of("laplace"), kernel_of("generalized", 1.0)
    torch.testing.assert_close(_between(X, X, M, laplace, 2.0), _between(X, X, M, generalized, 2.0))
    products = KernelPoints(X, M, laplace).own_products(slice(0, len(X)), slice(0, len(X)))
    torch.testing.assert_close(laplace.profile_(products.clone(), 2.0), generalized.profile_(products.clone(), 2.0))


def test_gaussian_is_the_generalized_kernel_with_exponent_2_and_another_length(M, rows):
    X, _ = rows
    torch.testing.assert_close(
        _between(X, X, M, kernel_of("gaussian"), 1.5),
        _between(X, X, M, kernel_of("generalized", 2.0), 1.5 * 2**0.5),
    )


def test_coincident_rows_have_no_slope(M):
    X = torch.ones(3, 4, dtype=torch.float64)
    for kernel in (kernel_of("laplace"), kernel_of("generalized", 0.7), kernel_of("gaussian")):
        points = KernelPoints(X, M, kernel)
        for products in (points.own_products(slice(0, 3), slice(0, 3)), points.products(X)):
            assert bool((kernel.profile_(products, 1.0) == 0).all())


def test_median_bandwidth_is_the_factor_times_the_median_distance(rows):
    X, _ = rows
    M = torch.eye(4, dtype=torch.float64)
    expected = 3.0 * torch.pdist(X).median().item()
    assert median_bandwidth(X, M, kernel_of("laplace"), 3.0, torch.arange(len(X))) == pytest.approx(expected)


def test_median_bandwidth_of_one_point_is_the_factor():
    X = torch.ones(4, 2)
    assert median_bandwidth(X, torch.eye(2), kernel_of("laplace"), 3.0, torch.arange(4)) == 3.0
