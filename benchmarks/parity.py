"""Sparse parity: accuracy by iteration, and how far the true columns stand out.

The label is the product of the first k of 50 columns of ±1. Gaussian kernel, bandwidth 5, ridge 0.001, trace scaling,
seed 0; 1000 test rows that nothing is chosen on.
"""

import torch

from worker.engine.recursion import FitConfig, iterate
from worker.engine.targets import ClassTargets

CASES = ((2, 500, 3), (3, 2000, 4), (4, 5000, 7))
VARIANTS = {
    "fact": {"update": "fact"},
    "geometric": {"update": "fact", "geometric_average": True},
    "nfa": {"update": "nfa"},
    "none": {"update": "none"},
}
COLUMNS = 50
TEST_ROWS = 1000
SEED = 0


def main() -> None:
    print("| k | n | update | test accuracy by iteration, % | weakest true column / strongest other |")
    print("|---|---|---|---|---|")
    for k, n, iterations in CASES:
        generator = torch.Generator().manual_seed(SEED)
        X = torch.randint(0, 2, (n + TEST_ROWS, COLUMNS), generator=generator).float() * 2 - 1
        codes = (X[:, :k].prod(1) > 0).long()
        for name, options in VARIANTS.items():
            config = FitConfig(kernel="gaussian", bandwidth=5.0, ridge=1e-3, iterations=iterations, **options)
            held_out = (X[n:], codes[n:])
            states = list(iterate(X[:n], codes[:n], ClassTargets(2), config, validation=held_out))
            accuracy = " ".join(f"{100 * state.current.metrics['validation_accuracy']:.0f}" for state in states)
            diagonal = states[-1].current.M.diagonal()
            ratio = float(diagonal[:k].min() / diagonal[k:].max())
            print(f"| {k} | {n} | {name} | {accuracy} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
