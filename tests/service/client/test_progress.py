"""The line of a job on the terminal moves while nothing is measured, and is not called queued while it runs."""

import io
import threading
import time
from datetime import UTC, datetime

from rich.console import Console

from service.client.progress import Bar
from worker.contracts.events import StateData, StateEvent
from worker.contracts.resources import Job, JobState, Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _job(fraction: float) -> Job:
    return Job(
        id="job_1",
        kind="fit",
        state="running",
        attempt=1,
        progress=Progress(fraction=fraction, stage="reading the rows"),
        dataset="ds_1",
        request={},
        created_at=NOW,
    )


def _state(state: JobState) -> StateEvent:
    return StateEvent(seq=1, created_at=NOW, data=StateData(state=state, attempt=1))


def test_between_events_the_line_says_what_the_job_says_of_itself() -> None:
    written = io.StringIO()
    looks: list[float] = []

    def look() -> Job:
        looks.append(time.monotonic())
        return _job(0.37)

    with Bar("fit", Console(file=written, width=200, force_terminal=True), look) as bar:
        bar(_state("running"))
        ends_at = time.monotonic() + 20
        while "37 %" not in written.getvalue() and time.monotonic() < ends_at:
            threading.Event().wait(0.02)
        bar(_state("succeeded"))
    assert "reading the rows" in written.getvalue()
    assert "37 %" in written.getvalue()
    assert "100 %" in written.getvalue()
    assert "queued" not in written.getvalue()


def test_a_line_without_a_job_to_look_at_shows_events_alone() -> None:
    written = io.StringIO()
    with Bar("fit", Console(file=written, width=200, force_terminal=True)) as bar:
        bar(_state("running"))
    assert "queued" not in written.getvalue()
