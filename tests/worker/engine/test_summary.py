import pytest
import torch

from worker.engine import summary


def test_spectrum_takes_a_matrix_apart_and_puts_it_together():
    A = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    M = A @ A.T
    found = summary.spectrum(M)
    assert torch.equal(found.eigenvalues, found.eigenvalues.sort(descending=True).values)
    torch.testing.assert_close((found.directions * found.eigenvalues) @ found.directions.T, M)
    largest = found.directions.gather(0, found.directions.abs().argmax(0, keepdim=True))
    assert bool((largest > 0).all())


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_effective_rank_of_equal_eigenvalues_is_their_number(rank):
    eigenvalues = torch.zeros(5)
    eigenvalues[:rank] = 2.0
    assert summary.effective_rank(eigenvalues) == pytest.approx(rank)


def test_importance_is_the_share_of_the_trace():
    shares = summary.importance(torch.diag(torch.tensor([1.0, 3.0])))
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.75], dtype=torch.float64))
    torch.testing.assert_close(summary.importance(torch.tensor([1.0, 3.0])), shares)


def test_cosine_of_a_matrix_with_its_multiple_is_one():
    M = torch.eye(3)
    assert summary.cosine(M, 5 * M) == pytest.approx(1)
