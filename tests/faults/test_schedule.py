"""The schedule of a campaign follows from its seed."""

from itertools import islice

from benchmarks.faulting.injuries import WEIGHTS, schedule


def test_a_seed_gives_the_same_schedule_again_and_another_seed_another() -> None:
    kinds = list(WEIGHTS)
    first = list(islice(schedule(3, kinds, 1.5), 300))
    assert first == list(islice(schedule(3, kinds, 1.5), 300))
    assert first != list(islice(schedule(4, kinds, 1.5), 300))


def test_every_kind_comes_before_any_comes_again() -> None:
    drawn = [fault.kind for fault in islice(schedule(3, list(WEIGHTS), 1.5), len(WEIGHTS))]
    assert sorted(drawn) == sorted(WEIGHTS)
