"""Progress between the reports of a run: how far it is by the time that has gone, and how long it may still take.

The mathematics says nothing while it computes. Between two reports the fraction moves from the one towards that of the
next, as fast as the expected time says and slower the longer it takes, and never as far.
"""

import math
import threading
import time
from collections.abc import Callable

from worker.contracts.messages import AnyReport, IterationReport, ProgressReport, Reported, StepReport, TrialReport
from worker.contracts.resources import Progress
from worker.environment.background import Background

AnyProgress = ProgressReport | IterationReport | TrialReport | StepReport

EVERY_SECONDS = 1.0
STRAIGHT = 0.7
"""Up to this part of the way to the next report the fraction moves evenly."""
UNKNOWN_SECONDS = 60.0
"""What a job whose duration nobody estimated is taken for, to move its fraction."""


class Pace(Background):
    """Passes reports on, each with a time that is left, and tells of the progress between them: ``with Pace(…)``.

    Nothing follows the last report of a run: the next job would get it. ``expected``: seconds that the whole job may
    take, None where nobody estimated it.
    """

    def __init__(
        self,
        report: Callable[[AnyReport], None],
        expected: float | None,
        *,
        every: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("pace")
        self._report = report
        self._expected = expected
        self._every = every
        self._clock = clock
        self._begun = clock()
        self._first: float | None = None
        self._shown = 0.0
        self._last: AnyProgress | None = None
        self._last_at = 0.0
        self._lock = threading.Lock()

    def __call__(self, answer: AnyReport) -> None:
        """Pass a report on."""
        with self._lock:
            if not isinstance(answer, Reported):
                self._report(answer)
                return
            filled = self._filled(answer)
            self._last, self._last_at = filled, self._clock()
            self._report(filled)

    def between(self) -> Progress | None:
        """Return the progress at this moment, between the last report and the next; None before the first."""
        if self._last is None:
            return None
        progress, goal = self._last.progress, self._last.next_fraction
        left = progress.eta_seconds
        whole = max(1 - progress.fraction, 1e-9)
        ahead = max(goal - progress.fraction, 0.0)
        seconds = (UNKNOWN_SECONDS if left is None else left) * ahead / whole
        way = _way((self._clock() - self._last_at) / max(seconds, self._every))
        fraction = max(progress.fraction + ahead * way, self._shown)
        rest = None if left is None else left * (1 - fraction) / whole
        return progress.model_copy(update={"fraction": fraction, "eta_seconds": rest})

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            with self._lock:
                progress = self.between()
                if progress is None or self._clock() - self._last_at < self._every:
                    continue
                self._shown = progress.fraction
                self._report(ProgressReport(progress=progress))

    def _filled(self, answer: AnyProgress) -> AnyProgress:
        """Return the report with a time that is left, where it has none, and with no less than was shown before."""
        progress = answer.progress
        if self._first is None:
            self._first = progress.fraction
        self._shown = max(self._shown, progress.fraction)
        left = self._left(progress.fraction) if progress.eta_seconds is None else progress.eta_seconds
        changes: dict[str, object] = {
            "progress": progress.model_copy(update={"fraction": self._shown, "eta_seconds": left})
        }
        if isinstance(answer, IterationReport | TrialReport | StepReport) and answer.data.eta_seconds is None:
            changes["data"] = answer.data.model_copy(update={"eta_seconds": left})
        return answer.model_copy(update=changes)

    def _left(self, fraction: float) -> float | None:
        """Return the seconds left: at the beginning as expected, and towards the end as the time so far tells."""
        first = self._first or 0.0
        done = (fraction - first) / max(1 - first, 1e-9)
        gone = self._clock() - self._begun
        if self._expected is None:
            return gone * (1 - done) / done if done > 0 else None
        return (1 - done) * (done * gone / max(done, 1e-9) + (1 - done) * self._expected * (1 - first))


def _way(part: float) -> float:
    """Return how far the fraction is between two reports after that part of the time expected: below 1 for ever."""
    if part <= STRAIGHT:
        return part
    rest = 1 - STRAIGHT
    return 1 - rest * math.exp((STRAIGHT - part) / rest)
