"""Kernels by name: requests name those that there are, and no other place lists them."""

from typing import get_args

import pytest
import torch

from worker.contracts.specs import FitSpec
from worker.engine.config import ALLOWED
from worker.engine.kernels import KERNELS, kernel_of


def test_a_request_may_name_every_kernel_and_no_other():
    assert set(get_args(FitSpec.model_fields["kernel"].annotation)) == set(KERNELS) == set(ALLOWED["kernel"])


@pytest.mark.parametrize("name", KERNELS)
def test_the_formula_is_the_value(name):
    kernel = kernel_of(name, 1.3 if KERNELS[name].has_exponent else None)
    P = torch.linspace(0.01, 9, 100, dtype=torch.float64)
    formula = kernel.formula(1.7)
    expected = P**2 if formula is None else (formula.factor * P**formula.power).exp()
    torch.testing.assert_close(kernel.value_(P.clone(), 1.7), expected, rtol=1e-12, atol=0)
