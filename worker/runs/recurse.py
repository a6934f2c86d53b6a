"""A recursion on this machine: encoded rows in, states out."""

import time
from collections.abc import Iterator

import torch

from worker.engine.config import FitConfig
from worker.engine.estimate import estimate, within
from worker.engine.recursion import FitState, iterate
from worker.runs.machine import Machine
from worker.training.model_selection import TrainingRows


def recurse(
    rows: TrainingRows, config: FitConfig, machine: Machine, state: FitState | None = None, *, choose: bool = True
) -> Iterator[FitState]:
    """Yield the states of a fit, from ``state`` on if there is one, timed; ``choose`` as of ``iterate``.

    Raises:
        DoesNotFit: there is too little memory.
        EngineError: the mathematics broke down.
    """
    n, d = rows.X.shape
    held_out = rows.validation
    m = 0 if held_out is None else held_out[0].shape[0]
    if state is not None and state.current.alpha.dtype == torch.float64:
        config = config.precise
    config = bounded(n, d, rows.targets.n_outputs, m, config, machine)
    device = machine.device
    yield from iterate(
        rows.X.to(device),
        rows.Y.to(device),
        rows.targets.to(device),
        config,
        validation=None if held_out is None else (held_out[0].to(device), held_out[1].to(device)),
        state=state,
        choose=choose,
        clock=time.perf_counter,
    )


def bounded(n: int, d: int, c: int, m: int, config: FitConfig, machine: Machine) -> FitConfig:
    """Return the config that keeps to the machine's memory.

    Raises:
        DoesNotFit: it cannot.
    """
    config = within(n, d, c, m, config, machine.available_bytes())
    machine.check_fits(estimate(n, d, c, m, config).bytes)
    return config
