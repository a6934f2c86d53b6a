"""Parameters of the estimators, validated like those of the service."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from sklearn.utils import check_random_state

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


def seed_of(random_state: Any, seed: int) -> int:
    """Return the seed of a fit: ``seed`` for None, a number itself, and of a generator the next number.

    Numbers of 2³¹ and above, which no spec holds, stand for the first number of their generator.

    Raises:
        ValueError: ``random_state`` is none of these.
    """
    if random_state is None:
        return seed
    if isinstance(random_state, int | np.integer) and 0 <= random_state < 2**31:
        return int(random_state)
    try:
        return int(check_random_state(random_state).randint(2**31, dtype="int64"))
    except (ValueError, TypeError):
        raise ValueError(
            "random_state must be None, a whole number from 0 to 2**32 - 1 or a numpy.random.RandomState, "
            f"not {random_state!r}"
        ) from None


def check_following(verbose: Any, callbacks: Any) -> None:
    """Check the parameters that say how to follow a fit.

    Raises:
        ValueError: naming the parameter and its value.
    """
    if not isinstance(verbose, int | np.integer) or verbose < 0:
        raise ValueError(
            f"verbose must be False or 0 for silence, True or 1 for a progress bar, or 2 for lines, not {verbose!r}"
        )
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple):
        raise ValueError(f"callbacks must be a list of functions or None, not {callbacks!r}")
    for callback in callbacks:
        if not callable(callback):
            raise ValueError(f"callbacks must be functions (iteration, metrics, feature_matrix), not {callback!r}")
