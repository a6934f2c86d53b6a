"""The search for the best of many configurations: seeded draws, and an early end for weak trials.

Trials come in rounds, and those of a round may run side by side. The draw of a trial, and whether it is
stopped early, follow from the seed, its number and the trials of earlier rounds, and from nothing else. So a search is
the same whether its trials run one after another or at once, and whether or not it was interrupted.
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
"""So many trials, the first round, are drawn evenly before the sampler looks at what they found."""
ROUND_TRIALS = 6
"""Of all later rounds: more would run side by side, and fewer of them would be drawn by what others found."""
RUNG_STEP, RUNG_FACTOR = 2, 3
"""Asynchronous successive halving (Li et al. 2020): a trial goes on past step 2, then past 6, 18, … where it is among
the best third of those that came so far. The first steps say little of what a trial will learn."""
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


Applies = Callable[[str, Params], bool]


def search(
    run: Callable[[int, Params], Iterator[Loss]],
    space: Mapping[str, SearchOption],
    *,
    trials: int,
    seed: int,
    first: Params,
    applies: Applies = lambda name, params: True,
    failures: tuple[type[Exception], ...] = (),
    finished: Sequence[Trial] = (),
) -> Iterator[Trial]:
    """Yield each trial when it has ended, one after another.

    ``run(number, params)`` yields the loss after each step, and is closed where the trial is stopped. ``first`` is
    tried first. Options: see ``drawn`` and ``tried``. ``finished``: the first trials of an earlier run, in order.
    """
    done = list(finished)
    for number in range(len(done), trials):
        beside = [trial.params for trial in done[round_start(number) :]]
        params = drawn(space, done, beside, seed, number, first, applies)
        twin = twin_of(params, done)
        if twin is not None:
            trial = replace(twin, number=number, same_as=twin.number)
        else:
            trial = tried(run(number, params), done, number, params, failures)
        done.append(trial)
        yield trial


def round_start(number: int) -> int:
    """Return the number of the first trial in the round of trial ``number``."""
    if number < STARTUP_TRIALS:
        return 0
    return number - (number - STARTUP_TRIALS) % ROUND_TRIALS


def round_end(number: int) -> int:
    """Return the number of the first trial behind the round of trial ``number``."""
    start = round_start(number)
    return start + (ROUND_TRIALS if start else STARTUP_TRIALS)


def drawn(
    space: Mapping[str, SearchOption],
    done: Sequence[Trial],
    beside: Sequence[Params],
    seed: int,
    number: int,
    first: Params,
    applies: Applies,
) -> dict[str, OptionValue]:
    """Return the params of trial ``number``, which keep away from those of its round before it, ``beside``.

    ``done``: at least all trials of earlier rounds, in order. An option is drawn if it ``applies`` beside those drawn
    before it, in the order of ``space``.
    """
    if number == 0:
        return dict(first)
    return _draw(_study(space, done, seed, number, beside).ask(), space, applies)


def twin_of(params: Params, done: Sequence[Trial]) -> Trial | None:
    """Return the earliest trial with the same params, None where there is none."""
    return next((trial for trial in done if trial.params == params), None)


def tried(
    steps: Iterator[Loss],
    done: Sequence[Trial],
    number: int,
    params: Params,
    failures: tuple[type[Exception], ...] = (),
) -> Trial:
    """Return the trial whose losses ``steps`` yields; that is closed where the trial is stopped.

    Errors of the types ``failures`` make a failed trial.
    """
    judged = _judge(done, number)
    losses: list[Loss] = []
    try:
        for step, loss in enumerate(steps):
            if not all(map(math.isfinite, loss)):
                return Trial(number, params, "failed", tuple(losses), f"the loss after step {step} is not finite")
            losses.append(loss)
            judged.report(_number(min(losses)), step)
            if judged.should_prune():
                return Trial(number, params, "pruned", tuple(losses))
    except failures as error:
        return Trial(number, params, "failed", tuple(losses), str(error))
    return Trial(number, params, "complete", tuple(losses))


def _judge(done: Sequence[Trial], number: int) -> optuna.Trial:
    """Return a trial to report steps to, which knows how far those of earlier rounds came, and says when to stop."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=RUNG_STEP, reduction_factor=RUNG_FACTOR)
    study = optuna.create_study(pruner=halving)
    for trial in done[: round_start(number)]:
        asked = study.ask()
        for step in range(len(trial.losses)):
            asked.report(_number(min(trial.losses[: step + 1])), step)
            # the pruner keeps what it is asked about
            asked.should_prune()
        study.tell(asked, state=TrialState.FAIL)
    return study.ask()


def _study(
    space: Mapping[str, SearchOption], done: Sequence[Trial], seed: int, number: int, beside: Sequence[Params] = ()
) -> optuna.Study:
    """Return a study that has seen the trials of earlier rounds and whose draws belong to trial ``number``."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=own_seed, constant_liar=True)
    )
    study.add_trials([_frozen(trial, space) for trial in done[: round_start(number)]])
    study.add_trials([_running(params, space) for params in beside])
    return study


def _frozen(trial: Trial, space: Mapping[str, SearchOption]) -> optuna.trial.FrozenTrial:
    known = _inside(trial.params, space)
    values = [_number(min(trial.losses[: step + 1])) for step in range(len(trial.losses))]
    return optuna.create_trial(
        state=STATES[trial.state],
        value=values[-1] if trial.state == "complete" else None,
        params=known,
        distributions={name: _distribution(space[name]) for name in known},
        intermediate_values=dict(enumerate(values)) if trial.state != "failed" else {},
    )


def _running(params: Params, space: Mapping[str, SearchOption]) -> optuna.trial.FrozenTrial:
    known = _inside(params, space)
    distributions = {name: _distribution(space[name]) for name in known}
    return optuna.create_trial(state=TrialState.RUNNING, params=known, distributions=distributions)


def _inside(params: Params, space: Mapping[str, SearchOption]) -> dict[str, OptionValue]:
    """Return the values that the sampler may see: the first trial may hold others, from outside of the space."""
    return {name: value for name, value in params.items() if space[name].holds(value)}


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
