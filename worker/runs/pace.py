"""Interpolated progress between the reports of a run, and its remaining time.

A computation does not report while it runs. Between two reports the fraction moves towards that of the next report, at
the expected speed and then ever more slowly, and never reaches it.
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
"""Up to this part of the interval the fraction moves linearly."""
UNKNOWN_SECONDS = 60.0
"""Assumed duration of a job without an estimate."""


class Pace(Background):
    """Forward reports with their remaining time, and report the progress between them: ``with Pace(…)``.

    No report follows the last one of a run: the next job would get it. ``expected``: estimated seconds of the whole
    job, None without an estimate.
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
        """Forward a report."""
        with self._lock:
            if not isinstance(answer, Reported):
                self._report(answer)
                return
            filled = self._filled(answer)
            self._last, self._last_at = filled, self._clock()
            self._report(filled)

    def between(self) -> Progress | None:
        """Return the interpolated progress at this moment; None before the first report."""
        if self._last is None:
            return None
        progress, goal = self._last.progress, self._last.next_fraction
        left = progress.eta_seconds
        remaining = max(1 - progress.fraction, 1e-9)
        ahead = max(goal - progress.fraction, 0.0)
        seconds = (UNKNOWN_SECONDS if left is None else left) * ahead / remaining
        share = _eased((self._clock() - self._last_at) / max(seconds, self._every))
        fraction = max(progress.fraction + ahead * share, self._shown)
        rest = None if left is None else left * (1 - fraction) / remaining
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
        """Return the report with a remaining time, and a fraction that is not below the one shown before."""
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
        """Return the remaining seconds: at first by the estimate, towards the end by the elapsed time."""
        first = self._first or 0.0
        done = (fraction - first) / max(1 - first, 1e-9)
        gone = self._clock() - self._begun
        if self._expected is None:
            return gone * (1 - done) / done if done > 0 else None
        return (1 - done) * (done * gone / max(done, 1e-9) + (1 - done) * self._expected * (1 - first))


def _eased(part: float) -> float:
    """Return the share of the interval after this part of the expected time: linear, then approaching 1."""
    if part <= STRAIGHT:
        return part
    rest = 1 - STRAIGHT
    return 1 - rest * math.exp((STRAIGHT - part) / rest)
