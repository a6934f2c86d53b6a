"""A part that dies is started again, but neither at once nor for ever. The clock is an argument."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes import wait_until

from service.errors import CannotStart
from service.local.child_process import CALM_SECONDS, MAX_DEATHS, MAX_PAUSE, SETTLE_SECONDS, ChildProcess

SLEEPS = "import time; time.sleep(60)"
Make = Callable[[str], ChildProcess]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes parts that run a line of Python, and ends them after the test."""
    made: list[ChildProcess] = []

    def one(line: str) -> ChildProcess:
        made.append(ChildProcess("the part", [sys.executable, "-S", "-c", line], tmp_path / "part.log"))
        return made[-1]

    yield one
    for part in made:
        part.stop()


def _kill(part: ChildProcess) -> None:
    assert part.process is not None
    part.process.kill()
    part.process.wait()


def test_one_that_gives_up_at_its_start_is_not_started_again(make: Make) -> None:
    part = make("import sys; sys.exit('no such thing as SOMETHING=x')")
    part.start(os.environ, 0.0)
    part.wait()
    with pytest.raises(CannotStart, match=r"the part did not come up.*code 1.*\n.*SOMETHING=x"):
        part.restart_if_dead(os.environ, SETTLE_SECONDS - 1, print)


def test_one_that_fails_later_is_started_again(make: Make) -> None:
    part = make("import sys; sys.exit(1)")
    part.start(os.environ, 0.0)
    part.wait()
    said: list[str] = []
    part.restart_if_dead(os.environ, SETTLE_SECONDS + 1, said.append)
    assert "ended with code 1 and is started again" in said[0]


def test_pauses_double_and_deaths_in_a_row_have_an_end(make: Make) -> None:
    part = make(SLEEPS)
    now = 0.0
    part.start(os.environ, now)
    for death in range(MAX_DEATHS):
        _kill(part)
        pause = min(0.5 * 2**death, MAX_PAUSE)
        part.restart_if_dead(os.environ, now, lambda _: None)
        part.restart_if_dead(os.environ, now + pause - 0.01, lambda _: None)
        assert not part.alive()
        now += pause
        part.restart_if_dead(os.environ, now, lambda _: None)
        assert part.alive()
    _kill(part)
    with pytest.raises(CannotStart, match=f"died {MAX_DEATHS + 1} times in a row and was ended by signal 9"):
        part.restart_if_dead(os.environ, now, print)


def test_deaths_before_a_calm_time_are_forgotten(make: Make) -> None:
    part = make(SLEEPS)
    part.start(os.environ, 0.0)
    for round_ in range(1, MAX_DEATHS + 3):
        _kill(part)
        now = round_ * (CALM_SECONDS + 1)
        part.restart_if_dead(os.environ, now, lambda _: None)
        part.restart_if_dead(os.environ, now + 0.5, lambda _: None)
        assert part.alive()


def test_words_are_those_of_the_last_start(make: Make) -> None:
    part = make("print('a word')")
    part.log.write_text("an old word\n")
    part.start(os.environ, 0.0)
    part.wait()
    assert part.last_lines() == "a word"


def test_a_program_that_is_not_there_is_a_clear_word(tmp_path: Path) -> None:
    part = ChildProcess("the part", [str(tmp_path / "nothing")], tmp_path / "part.log")
    with pytest.raises(CannotStart, match=r"the part cannot be started: .*nothing: No such file"):
        part.start(os.environ, 0.0)


def test_one_that_heeds_no_sigterm_is_killed(make: Make, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    part = make(
        f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(ready)!r}, 'w').close(); "
        "time.sleep(60)"
    )
    part.start(os.environ, 0.0)
    wait_until(ready.exists, 30, "it heeds no SIGTERM")
    part.stop(0.2)
    assert part.process is not None
    assert part.process.returncode == -signal.SIGKILL
