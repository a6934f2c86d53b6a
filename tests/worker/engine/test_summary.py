import pytest
import torch

from worker.engine import summary


def test_spectrum_takes_a_matrix_apart_and_puts_it_together():
    A = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    M = A @ A.T
    found = summary.spectrum(M, 5)
    torch.testing.assert_close(summary.eigenvalues(M), found.eigenvalues)
    assert torch.equal(found.eigenvalues, found.eigenvalues.sort(descending=True).values)
    torch.testing.assert_close((found.directions * found.eigenvalues) @ found.directions.T, M)
    largest = found.directions.gather(0, found.directions.abs().argmax(0, keepdim=True))
    assert bool((largest > 0).all())


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_effective_rank_of_equal_eigenvalues_is_their_number(rank):
    eigenvalues = torch.zeros(5)
    eigenvalues[:rank] = 2.0
    assert summary.effective_rank(eigenvalues) == pytest.approx(rank)


def test_a_diagonal_matrix_is_not_decomposed(monkeypatch):
    values = torch.tensor([1.0, 5.0, 0.0, 3.0])
    expected = summary.spectrum(torch.diag(values) + 1e-12, 2)

    def refuse(*arguments):
        raise AssertionError("a decomposition of a diagonal matrix")

    monkeypatch.setattr(torch.linalg, "eigh", refuse)
    monkeypatch.setattr(torch.linalg, "eigvalsh", refuse)
    for M in (values, torch.diag(values)):
        found = summary.spectrum(M, 2)
        torch.testing.assert_close(found.eigenvalues, expected.eigenvalues)
        torch.testing.assert_close(found.directions, expected.directions)
        torch.testing.assert_close(summary.eigenvalues(M), expected.eigenvalues)


def test_importance_is_what_a_column_adds_to_the_mean_squared_distance_between_rows():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(30, 4, generator=generator) * torch.tensor([1.0, 5.0, 0.1, 0.0]) + 7
    A = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    M = A @ A.T
    pairs = (X[:, None] - X[None, :]).double().square().mean((0, 1)) * M.diagonal()
    for one in (M, M.diagonal()):
        found = summary.importance(one, summary.variances(X))
        torch.testing.assert_close(found, pairs / pairs.sum(), rtol=1e-5, atol=1e-9)


def test_variances_do_not_depend_on_how_far_rows_are_from_zero_or_how_they_are_taken():
    X = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1e6
    torch.testing.assert_close(summary.variances(X, block_rows=7), X.var(0, correction=0))


def test_where_no_column_varies_no_share_is_made_up():
    assert summary.importance(torch.ones(3), torch.zeros(3, dtype=torch.float64)).tolist() == [0, 0, 0]


def test_many_categories_of_noise_do_not_outweigh_the_columns_that_vary():
    generator = torch.Generator().manual_seed(0)
    merchants = torch.nn.functional.one_hot(torch.randint(600, (3000,), generator=generator), 600)
    X = torch.cat([torch.randn(3000, 5, generator=generator), merchants], 1)
    shares = summary.importance(torch.ones(605), summary.variances(X))
    assert float(shares[5:].sum()) < 0.2
    assert float(shares[:5].min()) > 0.15


@pytest.mark.parametrize("d", [1, 4])
def test_the_identity_is_known_whole_or_as_a_diagonal_and_from_a_file(d):
    for M in (torch.ones(d), torch.eye(d), torch.eye(d) * (1 + 1e-7)):
        assert summary.is_identity(M)
    other = torch.eye(4)
    other[0, 1] = other[1, 0] = 1e-3
    assert not summary.is_identity(other)
    assert not summary.is_identity(torch.tensor([1.0, 1.01, 0.99, 1.0]))


def test_cosine_of_a_matrix_with_its_multiple_is_one():
    M = torch.eye(3)
    assert summary.cosine(M, 5 * M) == pytest.approx(1)
