"""What tests of computations share."""

import pytest
import torch


@pytest.fixture
def one_thread() -> None:
    """Small problems are quicker in one thread, and their sums are always added in the same order."""
    torch.set_num_threads(1)
