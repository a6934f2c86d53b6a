import itertools
import math
from collections.abc import Iterator

import pytest

from worker.contracts.search import SearchOption
from worker.training.search import (
    RUNG_FACTOR,
    RUNG_STEP,
    Loss,
    Params,
    Trial,
    best,
    round_start,
    search,
)

SPACE = {
    "shape": SearchOption(choices=["round", "flat", None]),
    "length": SearchOption(low=0.01, high=100, log=True),
    "count": SearchOption(low=1, high=9, integer=True),
    "slope": SearchOption(low=0, high=1, step=0.25),
}
FIRST: Params = {"shape": "round", "length": "auto", "count": 20, "slope": 0.5}
STEPS = 5


def _run(number: int, params: Params) -> Iterator[Loss]:
    """Lose by the distance of the length from 3, less with each step."""
    length = params["length"] if isinstance(params["length"], float) else 50.0
    for step in range(STEPS):
        yield (abs(math.log(length / 3)) + (params["shape"] == "flat") + 1 / (step + 1),)


def _search(trials: int = 25, run=_run, space=SPACE, **options) -> list[Trial]:
    return list(search(run, space, **{"trials": trials, "seed": 7, "first": FIRST, **options}))


def test_the_same_seed_draws_the_same_trials_and_another_seed_others():
    assert _search() == _search()
    assert _search()[1].params != _search(seed=8)[1].params


@pytest.mark.parametrize("kept", [0, 1, 4, 17, 24, 25])
def test_a_search_that_goes_on_equals_one_that_was_never_interrupted(kept):
    whole = _search()
    ran: list[int] = []

    def run(number: int, params: Params) -> Iterator[Loss]:
        ran.append(number)
        yield from _run(number, params)

    assert whole[:kept] + _search(run=run, finished=whole[:kept]) == whole
    assert ran == list(range(kept, 25)), "no finished trial ran again"


def test_the_first_trial_is_what_was_given_and_all_others_lie_in_the_space():
    first, *others = _search()
    assert first.params == FIRST
    for trial in others:
        assert trial.params["shape"] in ("round", "flat", None)
        assert 0.01 <= trial.params["length"] <= 100
        assert trial.params["count"] in range(1, 10)
        assert isinstance(trial.params["count"], int)
        assert trial.params["slope"] in (0, 0.25, 0.5, 0.75, 1)


def test_the_search_finds_what_it_looks_for():
    trials = _search(60)
    found = best(trials)
    assert found is not None
    assert found.losses[found.best_step] < (0.5,)
    late = [trial for trial in trials[40:] if 1 < trial.params["length"] < 9]
    assert len(late) > 10, "draws gather where the loss is least"


def test_a_trial_goes_on_past_a_rung_where_it_is_in_the_best_third_of_those_that_came_so_far():
    trials = _search(40)
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    rungs = [step for step in (RUNG_STEP * RUNG_FACTOR**rung for rung in range(9)) if step < STEPS]
    for trial in trials:
        for step in rungs:
            if len(trial.losses) <= step:
                continue
            before = [one for one in trials[: round_start(trial.number)] if len(one.losses) > step]
            values = sorted([*(min(one.losses[: step + 1]) for one in before), min(trial.losses[: step + 1])])
            goes_on = min(trial.losses[: step + 1]) <= values[max(len(values) // RUNG_FACTOR - 1, 0)]
            stopped = trial.state == "pruned" and len(trial.losses) == step + 1
            assert stopped != goes_on
        if trial.state == "pruned":
            assert len(trial.losses) - 1 in rungs
        else:
            assert len(trial.losses) == STEPS
    assert best(trials) is not None


def test_a_stopped_trial_is_closed():
    closed: list[int] = []

    def run(number: int, params: Params) -> Iterator[Loss]:
        try:
            yield from _run(number, params)
        finally:
            closed.append(number)

    assert len(_search(run=run)) == 25
    assert closed == list(range(25))


def test_expected_errors_are_failed_trials_and_others_end_the_search():
    def run(number: int, params: Params) -> Iterator[Loss]:
        yield (1.0,)
        if number % 2:
            raise ZeroDivisionError("by nothing")

    trials = _search(4, run=run, failures=(ZeroDivisionError,))
    assert [trial.state for trial in trials] == ["complete", "failed", "complete", "failed"]
    assert [trial.reason for trial in trials[:2]] == [None, "by nothing"]
    assert best(trials) == trials[0]
    with pytest.raises(ZeroDivisionError):
        _search(4, run=run)


def test_a_loss_that_is_no_number_is_a_failed_trial():
    def run(number: int, params: Params) -> Iterator[Loss]:
        yield (1.0,)
        yield (math.nan,)

    [trial] = _search(1, run=run)
    assert (trial.state, trial.losses) == ("failed", ((1.0,),))
    assert best([trial]) is None


def test_equal_options_are_tried_once():
    ran: list[Params] = []

    def run(number: int, params: Params) -> Iterator[Loss]:
        ran.append(params)
        yield (1.0 if params["shape"] == "flat" else 2.0,)

    space = {"shape": SearchOption(choices=["round", "flat"])}
    trials = _search(8, run=run, space=space, first={"shape": "round"})
    assert ran == [{"shape": "round"}, {"shape": "flat"}]
    assert {trial.same_as for trial in trials[2:]} <= {0, 1}
    assert all(trial.losses == trials[trial.same_as].losses for trial in trials[2:])
    assert best(trials).number == next(trial.number for trial in trials if trial.params["shape"] == "flat")


def test_an_option_is_drawn_only_where_it_applies():
    space = {"a": SearchOption(choices=[1, 2]), "b": SearchOption(low=0, high=1)}

    def run(number: int, params: Params) -> Iterator[Loss]:
        yield (float(number),)

    trials = _search(
        30, run=run, space=space, first={"a": 2}, applies=lambda name, params: name == "a" or params["a"] == 1
    )
    assert all(("b" in trial.params) == (trial.params["a"] == 1) for trial in trials)
    assert {trial.params["a"] for trial in trials} == {1, 2}


def test_losses_are_compared_part_by_part():
    losses = itertools.chain([(0.5, 0.3)], [(0.5, 0.2)], [(0.4, 0.9)], itertools.repeat((0.5, 0.1)))

    def run(number: int, params: Params) -> Iterator[Loss]:
        yield next(losses)

    found = best(_search(6, run=run))
    assert found is not None
    assert found.number == 2
