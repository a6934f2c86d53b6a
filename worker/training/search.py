"""Search for the best of many configurations: seeded sampling, and pruning of weak trials.

The sample of a trial depends only on the seed, its number and the trials before it. So a resumed search equals one that
was never interrupted.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from worker.contracts.search import OptionValue, SearchOption

Params = Mapping[str, OptionValue]
Loss = tuple[float, ...]
"""Lower is better; parts in order of weight."""

STARTUP_TRIALS = 10
"""Number of uniformly sampled trials before the sampler models their losses."""
PRUNING_MIN_TRIALS = 5
"""Number of complete trials before median pruning starts."""
PRUNING_WARMUP_STEPS = 2
"""The first steps predict little of the result of a trial."""
TIE = 1e-6
"""Weight of the second part of a loss, scaled below 1, in the single number for the sampler."""

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Trial:
    """One trial of a configuration, with the loss after each step.

    ``number`` counts from 0. ``reason``: why it failed. ``same_as``: the earlier trial with the same params, whose
    losses this one takes over.
    """

    number: int
    params: Params
    state: Literal["complete", "pruned", "failed"]
    losses: tuple[Loss, ...]
    reason: str | None = None
    same_as: int | None = None

    @property
    def best_step(self) -> int:
        """The first step with the least loss."""
        return min(range(len(self.losses)), key=lambda step: self.losses[step])


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the least loss, the earliest of ties; None if none is complete."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return min(complete, key=lambda trial: (trial.losses[trial.best_step], trial.number), default=None)


def search(
    run: Callable[[int, Params], Iterator[Loss]],
    space: Mapping[str, SearchOption],
    *,
    trials: int,
    seed: int,
    first: Params,
    applies: Callable[[str, Params], bool] = lambda name, params: True,
    failures: tuple[type[Exception], ...] = (),
    finished: Sequence[Trial] = (),
) -> Iterator[Trial]:
    """Yield each trial when it has ended.

    ``run(number, params)`` yields the loss after each step, and is closed if the trial is pruned. ``first``: params of
    the first trial. An option is sampled if it ``applies`` with those sampled before it, in the order of ``space``.
    Exceptions of the types ``failures`` make failed trials. ``finished``: trials of an earlier run, in order.
    """
    done = list(finished)
    for number in range(len(done), trials):
        study = _study(space, done, seed, number)
        optuna_trial = study.ask()
        params = dict(first) if number == 0 else _draw(optuna_trial, space, applies)
        twin = next((earlier for earlier in done if earlier.params == params), None)
        if twin is not None:
            trial = replace(twin, number=number, same_as=twin.number)
        else:
            trial = _run_trial(run, number, params, optuna_trial, failures)
        done.append(trial)
        yield trial


def _run_trial(
    run: Callable[[int, Params], Iterator[Loss]],
    number: int,
    params: Params,
    optuna_trial: optuna.Trial,
    failures: tuple[type[Exception], ...],
) -> Trial:
    losses: list[Loss] = []
    steps = run(number, params)
    try:
        for step, loss in enumerate(steps):
            if not all(map(math.isfinite, loss)):
                return Trial(number, params, "failed", tuple(losses), f"the loss after step {step} is not finite")
            losses.append(loss)
            optuna_trial.report(_number(min(losses)), step)
            if optuna_trial.should_prune():
                return Trial(number, params, "pruned", tuple(losses))
    except failures as error:
        return Trial(number, params, "failed", tuple(losses), str(error))
    return Trial(number, params, "complete", tuple(losses))


def _study(space: Mapping[str, SearchOption], done: Sequence[Trial], seed: int, number: int) -> optuna.Study:
    """Return a study with the trials ``done`` and the seed of trial ``number``."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=own_seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=PRUNING_MIN_TRIALS, n_warmup_steps=PRUNING_WARMUP_STEPS),
    )
    study.add_trials([_frozen(trial, space) for trial in done])
    return study


def _frozen(trial: Trial, space: Mapping[str, SearchOption]) -> optuna.trial.FrozenTrial:
    # the first trial may have values outside of the space, which the sampler cannot use
    known = {name: value for name, value in trial.params.items() if space[name].holds(value)}
    values = [_number(min(trial.losses[: step + 1])) for step in range(len(trial.losses))]
    return optuna.create_trial(
        state=STATES[trial.state],
        value=values[-1] if trial.state == "complete" else None,
        params=known,
        distributions={name: _distribution(space[name]) for name in known},
        intermediate_values=dict(enumerate(values)) if trial.state != "failed" else {},
    )


def _draw(
    optuna_trial: optuna.Trial, space: Mapping[str, SearchOption], applies: Callable[[str, Params], bool]
) -> dict[str, OptionValue]:
    params: dict[str, OptionValue] = {}
    for name, option in space.items():
        if applies(name, params):
            params[name] = _suggest(optuna_trial, name, _distribution(option))
    return params


def _suggest(optuna_trial: optuna.Trial, name: str, distribution: BaseDistribution) -> OptionValue:
    if isinstance(distribution, CategoricalDistribution):
        return optuna_trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return optuna_trial.suggest_int(
            name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
        )
    assert isinstance(distribution, FloatDistribution)  # noqa: S101 - there is no fourth kind
    low, high = distribution.low, distribution.high
    return optuna_trial.suggest_float(name, low, high, log=distribution.log, step=distribution.step)


def _distribution(option: SearchOption) -> BaseDistribution:
    if option.choices is not None:
        return CategoricalDistribution(option.choices)
    low, high = option.low or 0.0, option.high or 0.0
    if option.integer:
        return IntDistribution(int(low), int(high), log=option.log, step=int(option.step or 1))
    return FloatDistribution(low, high, log=option.log, step=option.step)


def _number(loss: Loss) -> float:
    """Return a loss as one number with the same order, except for ties beyond the second part."""
    tie = loss[1] if len(loss) > 1 else 0.0
    return loss[0] + TIE * tie / (1 + abs(tie))
