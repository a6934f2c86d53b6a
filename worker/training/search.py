"""The search for the best of many configurations: seeded draws, and an early end for weak trials.

The draw of a trial follows from the seed, its number and the trials before it, and from nothing else. So a search that
goes on from a list of finished trials is the same as one that was never interrupted.
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
"""So many trials are drawn evenly before the sampler looks at what they found."""
JUDGED_AFTER = 5
"""So many trials must be complete before one is stopped for being weaker than their median."""
JUDGED_FROM_STEP = 2
"""The first steps say little of what a trial will learn."""
TIE = 1e-6
"""Weight of the second part of a loss, squeezed below 1, in the one number that the sampler sees."""

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried: the loss after each step.

    ``number`` counts from 0. ``reason``: why it failed. ``same_as``: an earlier trial had the same params, so this one
    took over what that one found.
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
    """Return the complete trial with the least loss, the earliest of equal ones; None where none is complete."""
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

    ``run(number, params)`` yields the loss after each step, and is closed where the trial is stopped. ``first`` is
    tried first. An option is drawn if it ``applies`` beside those drawn before it, in the order of ``space``. Errors of
    the types ``failures`` are failed trials. ``finished``: the first trials of an earlier run, in order.
    """
    done = list(finished)
    for number in range(len(done), trials):
        study = _study(space, done, seed, number)
        asked = study.ask()
        params = dict(first) if number == 0 else _draw(asked, space, applies)
        twin = next((one for one in done if one.params == params), None)
        if twin is not None:
            trial = replace(twin, number=number, same_as=twin.number)
        else:
            trial = _tried(run, number, params, asked, failures)
        done.append(trial)
        yield trial


def _tried(
    run: Callable[[int, Params], Iterator[Loss]],
    number: int,
    params: Params,
    asked: optuna.Trial,
    failures: tuple[type[Exception], ...],
) -> Trial:
    losses: list[Loss] = []
    steps = run(number, params)
    try:
        for step, loss in enumerate(steps):
            if not all(map(math.isfinite, loss)):
                return Trial(number, params, "failed", tuple(losses), f"the loss after step {step} is not finite")
            losses.append(loss)
            asked.report(_number(min(losses)), step)
            if asked.should_prune():
                return Trial(number, params, "pruned", tuple(losses))
    except failures as error:
        return Trial(number, params, "failed", tuple(losses), str(error))
    return Trial(number, params, "complete", tuple(losses))


def _study(space: Mapping[str, SearchOption], done: Sequence[Trial], seed: int, number: int) -> optuna.Study:
    """Return a study that has seen ``done`` and whose draws belong to trial ``number``."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=own_seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=JUDGED_AFTER, n_warmup_steps=JUDGED_FROM_STEP),
    )
    study.add_trials([_frozen(trial, space) for trial in done])
    return study


def _frozen(trial: Trial, space: Mapping[str, SearchOption]) -> optuna.trial.FrozenTrial:
    # The first trial may hold values from outside of the space: the sampler is not told those.
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
    asked: optuna.Trial, space: Mapping[str, SearchOption], applies: Callable[[str, Params], bool]
) -> dict[str, OptionValue]:
    params: dict[str, OptionValue] = {}
    for name, option in space.items():
        if applies(name, params):
            params[name] = _suggest(asked, name, _distribution(option))
    return params


def _suggest(asked: optuna.Trial, name: str, distribution: BaseDistribution) -> OptionValue:
    if isinstance(distribution, CategoricalDistribution):
        return asked.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return asked.suggest_int(
            name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
        )
    assert isinstance(distribution, FloatDistribution)  # noqa: S101 - there is no fourth kind
    return asked.suggest_float(name, distribution.low, distribution.high, log=distribution.log, step=distribution.step)


def _distribution(option: SearchOption) -> BaseDistribution:
    if option.choices is not None:
        return CategoricalDistribution(option.choices)
    low, high = option.low or 0.0, option.high or 0.0
    if option.integer:
        return IntDistribution(int(low), int(high), log=option.log, step=int(option.step or 1))
    return FloatDistribution(low, high, log=option.log, step=option.step)


def _number(loss: Loss) -> float:
    """Return a loss as one number that keeps the order but for ties beyond the second part."""
    tie = loss[1] if len(loss) > 1 else 0.0
    return loss[0] + TIE * tie / (1 + abs(tie))
