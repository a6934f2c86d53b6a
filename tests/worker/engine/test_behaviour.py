"""What the whole recursion does on problems whose answer is known, and what it never holds in memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from worker.engine.config import FitConfig
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets


def _parity(n, d, k, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randint(0, 2, (n, d), generator=generator).double() * 2 - 1
    return X, (X[:, :k].prod(1) > 0).long()


class _LargestTensor(TorchDispatchMode):
    """Watches every tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.numel())
        return made


def test_no_tensor_of_rows_by_outputs_by_columns_or_rows_by_rows_by_outputs_ever_exists():
    n, d, c = 150, 40, 30
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, d, generator=generator)
    codes = torch.arange(n) % c
    for update in ("fact", "nfa"):
        with _LargestTensor() as watch:
            list(
                iterate(X, codes, ClassTargets(c), FitConfig(update=update, iterations=2, ridge=0.1, tile=(64, 64 + 3)))
            )
        assert watch.numel <= n * n < min(n * d * c, n * n * c)


@pytest.mark.parametrize(("k", "n", "iteration"), [(2, 500, 1), (3, 2000, 2)])
def test_sparse_parity_goes_from_chance_to_certainty_and_the_support_stands_out(k, n, iteration):
    X, codes = _parity(n + 500, 50, k)
    config = FitConfig(kernel="gaussian", bandwidth=5.0, ridge=1e-3, iterations=iteration + 1)
    states = list(iterate(X[:n], codes[:n], ClassTargets(2), config, validation=(X[n:], codes[n:])))
    accuracy = [state.current.metrics["validation_accuracy"] for state in states]
    assert accuracy[0] < 0.8
    assert accuracy[iteration] >= 0.99
    diagonal = states[-1].current.M.diagonal()
    order = diagonal.argsort(descending=True)
    assert set(order[:k].tolist()) == set(range(k))
    assert float(diagonal[order[k - 1]]) >= 10 * float(diagonal[order[k]])


def test_modular_addition_is_understood_long_after_it_is_memorised():
    p = 31
    a, b = (grid.ravel() for grid in torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij"))
    X = torch.cat([torch.nn.functional.one_hot(part, p) for part in (a, b)], 1).double()
    codes = (a + b) % p
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))
    seen, unseen = order[: int(0.6 * p * p)], order[int(0.6 * p * p) :]
    config = FitConfig(kernel="gaussian", bandwidth=2.5, ridge=0.0, precision="float64", iterations=40)
    states = list(iterate(X[seen], codes[seen], ClassTargets(p), config, validation=(X[unseen], codes[unseen])))
    assert all(state.current.metrics["train_accuracy"] == 1 for state in states)
    accuracy = [state.current.metrics["validation_accuracy"] for state in states]
    assert max(accuracy[:10]) < 0.1
    assert accuracy[-1] > 0.99
    # M between the two summands depends on their difference alone
    block = states[-1].current.M[:p, p:]
    diagonals = torch.stack([block[torch.arange(p), (torch.arange(p) + shift) % p] for shift in range(p)])
    assert float(diagonals.var(1).mean()) < 0.02 * float(block.var())
