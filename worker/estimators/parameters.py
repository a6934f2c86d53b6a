"""Parameters of the estimators, validated like those of the service."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError

from worker.contracts.specs import FitSpec


def spec_of(options: Mapping[str, Any]) -> FitSpec:
    """Return the spec of an estimator's parameters.

    Raises:
        ValueError: naming each parameter, its value and what would be right.
    """
    if options["solver"] == "blocks":
        raise ValueError("solver 'blocks' shares a fit among a service's workers; here it is auto, cholesky or cg")
    try:
        return FitSpec(**options)
    except ValidationError as error:
        mistakes = [
            f"{entry['loc'][0]}: {entry['msg']}, not {entry['input']!r}"
            if entry["loc"]
            else entry["msg"].removeprefix("Value error, ")
            for entry in error.errors(include_url=False)
        ]
        raise ValueError("; ".join(dict.fromkeys(mistakes))) from None


def check_device(device: str) -> None:
    """Check that this machine has a device.

    Raises:
        ValueError: it does not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be one of this machine's, such as cpu, not {device!r}: {reason}") from error
