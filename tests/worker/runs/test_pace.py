"""Between two reports of a run its progress moves, and a time that is left is always said."""

import time

import pytest

from worker.contracts.events import LogData
from worker.contracts.messages import AnyReport, LogReport, ProgressReport
from worker.contracts.resources import Progress
from worker.runs.pace import Pace


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _stage(fraction: float, following: float, left: float | None = None) -> ProgressReport:
    progress = Progress(fraction=fraction, stage="fitting", eta_seconds=left)
    return ProgressReport(progress=progress, next_fraction=following)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_report_without_a_time_gets_the_expected_one(watch: Watch) -> None:
    told: list[AnyReport] = []
    pace = Pace(told.append, 80.0, clock=watch)
    pace(_stage(0.0, 0.5))
    assert told[-1].progress.eta_seconds == 80
    watch.now += 20
    pace(_stage(0.5, 1.0))
    # half of it took 20 s and was to take 40: what is left is between
    assert 20 < told[-1].progress.eta_seconds < 40
    pace(_stage(0.6, 1.0, left=7.0))
    assert told[-1].progress.eta_seconds == 7


@pytest.mark.parametrize("expected", [80.0, None])
def test_the_fraction_moves_towards_the_next_report_and_never_reaches_it(watch: Watch, expected: float | None) -> None:
    pace = Pace(lambda _: None, expected, clock=watch)
    assert pace.between() is None
    pace(_stage(0.2, 0.6))
    seen = []
    for _ in range(50):
        watch.now += 10
        found = pace.between()
        assert found is not None
        assert found.stage == "fitting"
        seen.append(found.fraction)
    assert seen == sorted(seen)
    assert 0.2 < seen[0] < seen[3] < seen[-1] <= 0.6
    if expected is not None:
        assert found.eta_seconds is not None
        assert 0 < found.eta_seconds < 80


def test_at_the_expected_pace_the_fraction_is_that_of_the_time(watch: Watch) -> None:
    pace = Pace(lambda _: None, 100.0, clock=watch)
    pace(_stage(0.0, 1.0))
    for seconds in (10, 30, 60):
        watch.now = 100.0 + seconds
        found = pace.between()
        assert found is not None
        assert (found.fraction, found.eta_seconds) == pytest.approx((seconds / 100, 100 - seconds))


def test_it_tells_by_itself_and_is_silent_after_its_end() -> None:
    told: list[AnyReport] = []
    with Pace(told.append, 1.0, every=0.01) as pace:
        pace(_stage(0.0, 0.9))
        pace(LogReport(data=LogData(message="between")))
        ends_at = time.monotonic() + 10
        while len(told) < 6 and time.monotonic() < ends_at:
            pass
    heard = len(told)
    fractions = [one.progress.fraction for one in told if isinstance(one, ProgressReport)]
    assert len(fractions) >= 5
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 2
    ends_at = time.monotonic() + 0.1
    while time.monotonic() < ends_at:
        pass
    assert len(told) == heard
