"""What a job will take, before it starts.

Seconds are those of one core of a processor, by rates that ``make bench NAME=durations`` measures: mostly within a
factor of 3, which is rough. More cores or a GPU are quicker.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from worker.contracts.requests import FitRequest, NetworkRequest, TuneRequest
from worker.contracts.resources import Estimate, Model
from worker.contracts.search import OptionValue
from worker.contracts.specs import Blocks, FitSpec, NetworkSpec
from worker.engine import estimate as engine
from worker.engine.config import FitConfig
from worker.training import search_space

ROUNDS = 2
PREDICT_BLOCK_ROWS = 8192
START_SECONDS = 0.5
"""What every job takes, however small."""
TRAINING_RATE = 6e9
"""Operations in a second of a training."""
BLOCKS_RATE = 5e10
"""The same of a fit by blocks, which is mostly factorisations of large matrices."""
PREDICTING_RATE = 2e9
"""The same of a prediction, which is mostly kernel values and not products of matrices."""
ROW_SECONDS = 4e-5
"""To read, encode and write a row."""
REGION_BYTES = 192 * 2**20
"""Of a fit by blocks: a region of its tree whose rows take no more is cut in memory."""
BLENDING_BYTES = 64 * 2**20
"""Of a fit by blocks: rows that choose the blend take no more, unless they are few."""
MAX_CHOOSING_ROWS = 8000
"""Of a fit by blocks: so many training rows choose between ways to fit."""
MAX_VALIDATION_ROWS = 8000
"""Of a fit by blocks: so many rows at most choose the iteration and the ridge of every block."""
CHOOSING_WORK = 2
"""Choosing between ways to fit is about as much work as the fit itself."""


def training(
    request: FitRequest | TuneRequest | NetworkRequest,
    fitted: int,
    width: int,
    outputs: int,
    scored: int,
    *,
    plain: int | None = None,
) -> Estimate:
    """Return the cost of a resolved request on ``fitted`` rows of ``width`` columns and ``scored`` validation rows.

    ``plain``: how many columns encoding 'plain' makes, where it is one of several. For a search the cost is that of
    the most expensive spec that it can come upon, in every trial.
    """
    if isinstance(request, NetworkRequest):
        return network(request.spec, fitted, width, outputs, scored)

    held_out = request.validation.fraction if request.validation is not None else None

    def cost(spec: FitSpec) -> engine.Estimate:
        config = FitConfig(**spec.engine_options())
        if spec.solver == "blocks" and spec.blocks is not None:
            refits = spec.refit and held_out is not None
            return _by_blocks(spec.blocks, config, fitted, width, outputs, scored, refits=refits)
        d = plain if plain is not None and spec.encoding == "plain" else width
        fit = engine.estimate(fitted, d, outputs, scored, config)
        if not (spec.refit and held_out):
            return fit
        last = replace(config, ridge=max(config.ridges) if config.ridge == "auto" else config.ridge, iterations=0)
        refitted = engine.estimate(fitted + scored, d, outputs, 0, last)
        return engine.Estimate(max(fit.bytes, refitted.bytes), fit.flops + refitted.flops)

    if isinstance(request, FitRequest):
        ways = [cost(spec) for spec in request.spec.candidates()]
        choosing = CHOOSING_WORK if len(ways) > 1 else 1
        # which of them it will be is not known; their work differs by orders of magnitude
        usual = math.exp(sum(math.log(way.flops) for way in ways) / len(ways))
        return Estimate(
            bytes=max(way.bytes for way in ways),
            flops=choosing * max(way.flops for way in ways),
            seconds=training_seconds(
                choosing * usual, BLOCKS_RATE if request.spec.solver == "blocks" else TRAINING_RATE
            ),
        )
    folds = (request.validation.folds if request.validation is not None else None) or 1
    searched = request.search.space or {}
    spec = search_space.around(request.spec)
    most = int(_most(spec, searched, lambda spec: cost(spec).bytes))
    work = _most(spec, searched, lambda spec: cost(spec).flops)
    choosing = CHOOSING_WORK - 1 if len(request.spec.candidates()) > 1 else 0
    # the folds of a trial go together, each with rows of its own
    flops = work * (folds * (request.search.trials + 1) + choosing)
    return Estimate(bytes=most + (folds - 1) * 8 * fitted * width, flops=flops, seconds=training_seconds(flops))


def _by_blocks(blocks: Blocks, config: FitConfig, n: int, d: int, c: int, m: int, *, refits: bool) -> engine.Estimate:
    """Return the cost of a fit by blocks: memory of its largest part or of the job itself, work of all parts together.

    ``refits``: the ``m`` validation rows join the leaves in the end.
    """
    once = replace(config, iterations=0)
    joined = (n + m) / n if refits else 1.0
    judging = min(m, MAX_VALIDATION_ROWS)
    block = engine.estimate(min(blocks.rows, n), d, c, judging, replace(config, iterations=1))
    leaf = engine.estimate(min(math.ceil(joined * blocks.leaf), n + m), d, c, 0, once)
    count = min(blocks.learn, -(-n // blocks.rows))
    # a leaf asks one block's machine after the other, which holds its rows several times
    beside = 16 * min(blocks.rows, n) * d if count > 1 else 0
    job = blocks_job_bytes(n + m, d, c)
    # leaves are halves of halves, and mostly smaller than they may be
    leaves = blocks.leaves(n)
    rows = math.ceil(n * ((1 + blocks.overlap) / 2) ** math.log2(leaves))
    solved = engine.estimate(min(rows, blocks.leaf), d, c, 0, once)
    flops = count * (config.iterations + 1) * block.flops / 2 + leaves * solved.flops
    return engine.Estimate(max(block.bytes, leaf.bytes + beside, job), flops)


def blocks_job_bytes(n: int, d: int, c: int) -> int:
    """Return the memory of a fit by blocks beside its parts, for n rows of the dataset.

    One region of the tree several times, or rows that choose; and some numbers of every row.
    """
    region = min(8 * n * (d + c + 3), REGION_BYTES)
    choosing = 8 * d * (min(n, MAX_CHOOSING_ROWS) + min(n, blending_rows(d)))
    return 4 * max(region, choosing) + 8 * n * (2 * c + 4)


def blending_rows(d: int) -> int:
    """Return how many rows of d columns choose a blend at most; the model's validation figures are of these rows."""
    return max(min(2**16, BLENDING_BYTES // (8 * d)), MAX_VALIDATION_ROWS)


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
    flops = 6.0 * n * weights * spec.steps + reports * look
    return Estimate(bytes=4 * numbers + 8 * squares, flops=flops, seconds=training_seconds(flops))


def prediction(model: Model, rows: int) -> Estimate:
    """Return the cost of predicting so many rows of a dataset."""
    outputs = len(model.classes) if model.classes is not None else len(model.targets)
    block = min(rows, PREDICT_BLOCK_ROWS) * (model.training_rows + model.encoded_features)
    flops = 2.0 * rows * model.training_rows * (model.encoded_features + outputs)
    seconds = START_SECONDS + rows * ROW_SECONDS + flops / PREDICTING_RATE
    return Estimate(bytes=model.bytes + 8 * block, flops=flops, seconds=seconds)


def training_seconds(flops: float, rate: float = TRAINING_RATE) -> float:
    """Return how long a training of so many operations takes."""
    return START_SECONDS + flops / rate


def _most(spec: FitSpec, searched: search_space.Space, cost: Callable[[FitSpec], float]) -> float:
    """Return the largest cost that was found by turning one option after another to its most expensive end."""
    chosen: dict[str, OptionValue] = {}
    most = cost(spec)
    for _ in range(ROUNDS):
        for name, option in searched.items():
            for value in option.corners:
                params = {**chosen, name: value}
                if not search_space.applies(spec, name, params):
                    continue
                value = cost(search_space.configured(spec, params))
                if value > most:
                    most, chosen = value, params
    return most
