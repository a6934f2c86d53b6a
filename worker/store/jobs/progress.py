"""Progress of a job from its row: the last report, the state and the estimate."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from worker.contracts.resources import FINAL_STATES, PartCounts, Progress
from worker.store.schema.tables import JobRow

STARTING = "starting"
"""The stage of a claimed job until its run reports one."""


@dataclass
class RoundProgress:
    """How many parts of a round are in each state, and how much of those that run is done, as a sum of fractions."""

    states: Counter[str] = field(default_factory=Counter)
    begun: float = 0.0


def public_progress(row: JobRow, parts: RoundProgress | None) -> Progress:
    """Return the progress that callers see. ``parts``: of a job that waits, how far its round is."""
    stored = Progress.model_validate(row.progress)
    if stored.parts is not None and parts is not None and row.state == "waiting":
        states, after = parts.states, stored.parts.fraction_after
        done, total = states["succeeded"], max(states.total(), 1)
        fraction = stored.fraction + (after - stored.fraction) * (done + parts.begun) / total
        counts = PartCounts(done=done, running=states["running"], total=total, fraction_after=after)
        trial = None if stored.trial is None else stored.trial + done
        changes = {"parts": counts, "fraction": fraction, "trial": trial, "eta_seconds": _expected(row, fraction)}
        return stored.model_copy(update=changes)
    stored = stored.model_copy(update={"parts": None, "fraction": _reached(row, stored)})
    if row.state == "succeeded":
        return stored.model_copy(update={"stage": row.state, "fraction": 1.0, "eta_seconds": None})
    if row.state in FINAL_STATES:
        return stored.model_copy(update={"stage": row.state, "eta_seconds": None})
    if row.state == "queued":
        return stored.model_copy(update={"stage": row.state, "eta_seconds": _expected(row, stored.fraction)})
    left = _expected(row, stored.fraction) if stored.eta_seconds is None else stored.eta_seconds
    # a worker of an earlier version does not set the stage when it claims a job
    stage = STARTING if stored.stage == "queued" else stored.stage
    return stored.model_copy(update={"stage": stage, "eta_seconds": left})


def initial_progress(row: JobRow) -> dict[str, Any]:
    """Return the progress to store for a job that a worker claims: where its checkpoint left it."""
    before = Progress() if row.checkpoint is None and row.round == 0 else Progress.model_validate(row.progress)
    fraction = _reached(row, before)
    # between two rounds callers see one job that goes on
    stage = before.stage if row.state == "ready" and row.parent_id is None else STARTING
    changes = {"stage": stage, "fraction": fraction, "parts": None, "eta_seconds": _expected(row, fraction)}
    return before.model_copy(update=changes).model_dump(mode="json")


def _reached(row: JobRow, stored: Progress) -> float:
    """Return the fraction that is done: of a job whose parts have all ended, what they were planned to bring."""
    return stored.fraction if stored.parts is None or row.state != "ready" else stored.parts.fraction_after


def _expected(row: JobRow, fraction: float) -> float | None:
    """Return the remaining seconds of a job by its estimate; None without one."""
    seconds = (row.estimate or {}).get("seconds")
    return None if seconds is None else float(seconds) * (1 - fraction)
