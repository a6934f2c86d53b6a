"""What the engine's tests share: small problems in float64, and the kernels."""

import pytest
import torch

from worker.engine.kernels import Kernel, kernel_of


@pytest.fixture(autouse=True)
def _few_threads(few_threads: None) -> None:
    """Every test of the engine computes so."""


KERNELS = [
    kernel_of("laplace"),
    kernel_of("gaussian"),
    kernel_of("generalized", 1.3),
    kernel_of("generalized", 0.7),
    kernel_of("quadratic"),
    kernel_of("exponential"),
]


@pytest.fixture(params=KERNELS, ids=lambda kernel: f"{kernel.name}{kernel.exponent or ''}")
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return request.param


@pytest.fixture(params=["full", "diagonal"], name="M")
def feature_matrix(request: pytest.FixtureRequest) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    W = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    return W.T @ W / 4 if request.param == "full" else torch.rand(4, generator=generator, dtype=torch.float64) + 0.2


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """X (12, 4) and alpha (12, 3)."""
    generator = torch.Generator().manual_seed(4)
    X = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return X, torch.randn(12, 3, generator=generator, dtype=torch.float64)
