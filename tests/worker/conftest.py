"""What tests of computations share."""

import pytest
import torch
from support.threads import THREADS


@pytest.fixture
def few_threads() -> None:
    torch.set_num_threads(THREADS)
