"""How far a job is, from its row: what the last report said, and what no report knows of."""

from typing import Any

from worker.contracts.resources import FINAL_STATES, Progress
from worker.store.schema.tables import JobRow

STARTING = "starting"
"""The stage of a job that a worker has claimed, until its run says what it does."""


def shown(row: JobRow) -> Progress:
    """Return the progress that callers see."""
    stored = Progress.model_validate(row.progress)
    if row.state == "succeeded":
        return stored.model_copy(update={"stage": row.state, "fraction": 1.0, "eta_seconds": None})
    if row.state in FINAL_STATES:
        return stored.model_copy(update={"stage": row.state, "eta_seconds": None})
    if row.state == "queued":
        return stored.model_copy(update={"stage": row.state, "eta_seconds": _expected(row, stored.fraction)})
    left = _expected(row, stored.fraction) if stored.eta_seconds is None else stored.eta_seconds
    # a worker of an earlier version claims a job without a word on its progress
    stage = STARTING if stored.stage == "queued" else stored.stage
    return stored.model_copy(update={"stage": stage, "eta_seconds": left})


def begun(row: JobRow) -> dict[str, Any]:
    """Return the progress to store for a job that a worker claims: where its checkpoint left it."""
    before = Progress() if row.checkpoint is None else Progress.model_validate(row.progress)
    changes = {"stage": STARTING, "eta_seconds": _expected(row, before.fraction)}
    return before.model_copy(update=changes).model_dump(mode="json")


def _expected(row: JobRow, fraction: float) -> float | None:
    """Return the seconds that the rest of a job will take by its estimate; None where it has none of its time."""
    seconds = (row.estimate or {}).get("seconds")
    return None if seconds is None else float(seconds) * (1 - fraction)
