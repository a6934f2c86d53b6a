"""What a fit job and an estimator do alike once the spec is settled: solver, recursion, last solve, model."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.contracts.base import Task
from worker.contracts.errors import DoesNotFit
from worker.contracts.resources import ChosenBy, ModelColumn
from worker.engine import summary
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError
from worker.engine.estimate import choose_solver, estimate, within
from worker.engine.model import FittedModel
from worker.engine.problem import Iterate
from worker.engine.recursion import FitState, iterate, refit, verified
from worker.serving.model import Origin, ServedModel
from worker.training.machine import Machine
from worker.training.model_selection import Choice
from worker.training.rows import TrainingRows


def solver_for(choice: Choice, solver: str, machine: Machine, *, refits: bool) -> tuple[str, str]:
    """Return the solver of all further systems, and a sentence that says why it is that one.

    ``solver``: what the spec asks for. ``refits``: rows to validate on join the last solve.
    """
    if solver != "auto":
        return solver, f"{solver}: as asked for"
    if choice.rows.weights is not None:
        return "cholesky", "cholesky: it alone takes weights of rows"
    rows = choice.rows
    n, d = rows.X.shape
    m = rows.validating
    config = FitConfig(**choice.spec.engine_options())
    # the last solve, of all rows together, is the largest
    largest = n + m if refits else n
    return choose_solver(largest, d, rows.targets.n_outputs, m, config, machine.available_bytes())


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
    if state is not None and state.current.alpha.dtype == torch.float64:
        config = config.precise
    config = _bounded(n, d, rows.targets.n_outputs, rows.validating, config, machine)
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
        weights=None if rows.weights is None else rows.weights.to(device),
    )


@dataclass(frozen=True)
class LastSolve:
    """What becomes the model: an iterate and the rows X (n, d) that it was solved on, on the machine's device.

    ``refitted``: rows to validate on are among them. ``refused``: why they are not, though they should be.
    ``weights`` (n,): of the rows, if they have any.
    """

    best: Iterate
    X: Tensor
    refitted: bool
    refused: str | None = None
    weights: Tensor | None = None


def last_solve(rows: TrainingRows, config: FitConfig, best: Iterate, machine: Machine, *, refits: bool) -> LastSolve:
    """Return the chosen iterate, solved once more on all rows where ``refits`` is true and it can be.

    Raises:
        EngineError: the iterate does not solve its own system.
    """
    device = machine.device
    targets = rows.targets.to(device)
    outputs = rows.targets.n_outputs
    refused = None
    if refits:
        X, Y = (part.to(device) for part in rows.together)
        try:
            fixed = _bounded(*_size(X), outputs, 0, replace(config, ridge=best.ridge), machine)
            weights = None if rows.weights_together is None else rows.weights_together.to(device)
            refitted = refit(X, Y, targets, fixed, best, weights)
            # a row that is beyond all numbers may be solved for on some processors, and none could be stored
            summary.checked(summary.variances(X.to(refitted.alpha.dtype)))
            return LastSolve(refitted, X, refitted=True, weights=None if weights is None else weights.training)
        except (EngineError, DoesNotFit) as error:
            # what was chosen is a good model without them
            refused = str(error)
    X = rows.X.to(device)
    bounded = within(*_size(X), outputs, 0, config, machine.available_bytes())
    own = None if rows.weights is None else rows.weights.to(device)
    solved = verified(X, rows.Y.to(device), targets, bounded, best, own)
    return LastSolve(solved, X, refitted=False, refused=refused, weights=None if own is None else own.training)


def model_of(
    rows: TrainingRows,
    solved: LastSolve,
    config: FitConfig,
    features: Sequence[ModelColumn],
    targets: Sequence[ModelColumn],
    origin: Origin | None = None,
) -> ServedModel:
    """Return the model that a training ends with."""
    fitted = FittedModel.from_iterate(
        solved.X, solved.best, config, rows.targets.to(solved.X.device), weights=solved.weights
    )
    task: Task = "regression" if rows.classes is None else "classification"
    return ServedModel(rows.encoder, fitted, task, rows.classes, list(features), list(targets), origin)


def chosen_by(rows: TrainingRows, best: Iterate) -> ChosenBy:
    """Return what told the best iteration of a recursion."""
    if rows.validation is not None:
        return "validation"
    return "last" if best.loss is None else "leave_one_out"


def _bounded(n: int, d: int, c: int, m: int, config: FitConfig, machine: Machine) -> FitConfig:
    """Return the config that keeps to the machine's memory.

    Raises:
        DoesNotFit: it cannot.
    """
    config = within(n, d, c, m, config, machine.available_bytes())
    machine.check_fits(estimate(n, d, c, m, config).bytes)
    return config


def _size(X: Tensor) -> tuple[int, int]:
    n, d = X.shape
    return n, d
