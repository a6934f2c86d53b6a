"""Progress of a job from its row: the last report, the state and the estimate."""

from typing import Any

from worker.contracts.resources import FINAL_STATES, Progress
from worker.store.schema.tables import JobRow

STARTING = "starting"
"""The stage of a claimed job until its run reports one."""


def public_progress(row: JobRow) -> Progress:
    """Return the progress for callers."""
    stored = Progress.model_validate(row.progress)
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
    """Return the progress of a newly claimed job: that of its checkpoint."""
    before = Progress() if row.checkpoint is None else Progress.model_validate(row.progress)
    changes = {"stage": STARTING, "eta_seconds": _expected(row, before.fraction)}
    return before.model_copy(update=changes).model_dump(mode="json")


def _expected(row: JobRow, fraction: float) -> float | None:
    """Return the remaining seconds of a job by its estimate; None without one."""
    seconds = (row.estimate or {}).get("seconds")
    return None if seconds is None else float(seconds) * (1 - fraction)
