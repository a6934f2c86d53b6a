"""What a training will take, before it starts."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from worker import space
from worker.contracts.requests import FitRequest, NetworkRequest, TuneRequest
from worker.contracts.resources import Estimate
from worker.contracts.search import OptionValue
from worker.contracts.specs import FitSpec, NetworkSpec
from worker.engine import estimate as engine
from worker.engine.config import FitConfig

ROUNDS = 2
CHOOSING_WORK = 2
"""Choosing between ways to fit is about as much work as the fit itself."""


def training(
    request: FitRequest | TuneRequest | NetworkRequest, fitted: int, width: int, outputs: int, scored: int
) -> Estimate:
    """Return the cost of a resolved request on ``fitted`` rows of ``width`` columns and ``scored`` validation rows.

    For a search it is that of the most expensive spec that it can come upon, in every trial.
    """
    if isinstance(request, NetworkRequest):
        return network(request.spec, fitted, width, outputs, scored)

    held_out = request.validation.fraction if request.validation is not None else None

    def cost(spec: FitSpec) -> engine.Estimate:
        config = FitConfig(**spec.engine_options())
        found = engine.estimate(fitted, width, outputs, scored, config)
        if not (spec.refit and held_out):
            return found
        last = replace(config, ridge=max(config.ridges) if config.ridge == "auto" else config.ridge, iterations=0)
        refitted = engine.estimate(fitted + scored, width, outputs, 0, last)
        return engine.Estimate(max(found.bytes, refitted.bytes), found.flops + refitted.flops)

    if isinstance(request, FitRequest):
        ways = [cost(spec) for spec in request.spec.candidates()]
        raced = CHOOSING_WORK if len(ways) > 1 else 1
        return Estimate(bytes=max(one.bytes for one in ways), flops=raced * max(one.flops for one in ways))
    folds = (request.validation.folds if request.validation is not None else None) or 1
    searched = request.search.space or {}
    spec = space.around(request.spec)
    most = int(_most(spec, searched, lambda spec: cost(spec).bytes))
    work = _most(spec, searched, lambda spec: cost(spec).flops)
    raced = CHOOSING_WORK - 1 if len(request.spec.candidates()) > 1 else 0
    # the folds of a trial go together, each with rows of its own
    return Estimate(
        bytes=most + (folds - 1) * 8 * fitted * width, flops=work * (folds * (request.search.trials + 1) + raced)
    )


def network(spec: NetworkSpec, n: int, d: int, c: int, m: int) -> Estimate:
    """Return the cost of training on n rows of d columns and c outputs, and of the reports; m rows validate."""
    widths = (d, *spec.hidden, c)
    weights = sum(a * b for a, b in pairwise(widths))
    # each layer's output before and after its activation, and a gradient; weights with gradient, momentum, copies
    numbers = 3 * n * sum(widths) + (n + m) * d + 7 * weights
    squares = sum(6 * a * a + 3 * b * b for a, b in pairwise(widths))
    reports = spec.steps // spec.report_every + 2
    backward = sum(a * b + b * b for a, b in pairwise(widths))
    look = 2.0 * n * (c + 2) * (weights + backward) + 100.0 * sum(width**3 for width in widths)
    return Estimate(bytes=4 * numbers + 8 * squares, flops=6.0 * n * weights * spec.steps + reports * look)


def _most(spec: FitSpec, searched: space.Space, cost: Callable[[FitSpec], float]) -> float:
    """Return the largest cost that was found by turning one option after another to its most expensive end."""
    chosen: dict[str, OptionValue] = {}
    most = cost(spec)
    for _ in range(ROUNDS):
        for name, option in searched.items():
            for value in option.corners:
                params = {**chosen, name: value}
                if not space.applies(spec, name, params):
                    continue
                found = cost(space.configured(spec, params))
                if found > most:
                    most, chosen = found, params
    return most
