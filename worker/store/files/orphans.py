"""Deletes files that no row names: of attempts that died, of uploads that broke off, of jobs that were deleted.

A file comes before the row that names it, so one without a row may be about to get it. What belongs to the attempt
under way is never touched. Anything else goes when it was found without a row twice, with ``patience_s`` between by a
clock that only moves forward: no clock of a machine or of a storage is asked how old a file is.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, or_, select

from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.store.schema.tables import DatasetRow, JobRow, ModelRow

OF_JOBS = ("jobs", "models", "results")
PREFIXES = (*OF_JOBS, "datasets", "checks")
FOLDERS_AT_ONCE = 200
"""A look takes in so many folders, one a job or dataset, and the next goes on after them."""


@dataclass
class Named:
    """What rows name: keys of files, and folders of attempts that may be writing now."""

    keys: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)

    def has(self, path: str) -> bool:
        """Return whether a row names the path, or may be about to."""
        return path in self.keys or any(path.startswith(folder) for folder in self.folders)


class Sweeper:
    """Goes through storage a part at a time, again and again. Used by one thread."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._patience_s = patience_s
        self._clock = clock
        self._began: float | None = None
        self._left: list[tuple[str, str]] = []
        self._unnamed: dict[str, dict[str, float]] = {}

    def look(self) -> list[str]:
        """Look at the next folders and delete what has had no row for long enough. Returns what was deleted.

        A pass through all folders begins at most once in ``patience_s``.

        Raises:
            OSError: storage is out of reach.
        """
        now = self._clock()
        if not self._left:
            if self._began is not None and now - self._began < self._patience_s:
                return []
            self._begin_pass(now)
        part, self._left = self._left[:FOLDERS_AT_ONCE], self._left[FOLDERS_AT_ONCE:]
        # files first, then rows: a file that gets its row in between has it
        found = {f"{prefix}/{name}": self._artifacts.list_strays(f"{prefix}/{name}") for prefix, name in part}
        named = self._named(part)
        deleted: list[str] = []
        for folder, paths in found.items():
            before = self._unnamed.pop(folder, {})
            since = {path: before.get(path, now) for path in paths if not named.has(path)}
            due = [path for path, first in since.items() if now - first >= self._patience_s]
            for path in due:
                self._artifacts.discard(path)
            deleted += due
            if len(due) < len(since):
                self._unnamed[folder] = {path: first for path, first in since.items() if path not in set(due)}
        return deleted

    def _begin_pass(self, now: float) -> None:
        self._began = now
        self._left = [(prefix, name) for prefix in PREFIXES for name in self._artifacts.list_folders(prefix)]
        there = {f"{prefix}/{name}" for prefix, name in self._left}
        self._unnamed = {folder: since for folder, since in self._unnamed.items() if folder in there}

    def _named(self, part: Sequence[tuple[str, str]]) -> Named:
        named = Named()
        job_ids = {name for prefix, name in part if prefix in OF_JOBS}
        dataset_ids = {name for prefix, name in part if prefix == "datasets"}
        with self._database.reading() as session:
            # the files of a part are in the folders of its job
            job = func.coalesce(JobRow.parent_id, JobRow.id)
            columns = (job, JobRow.state, JobRow.token, JobRow.checkpoint, JobRow.result)
            theirs = or_(JobRow.id.in_(job_ids), JobRow.parent_id.in_(job_ids))
            for job_id, state, token, checkpoint, result in session.execute(select(*columns).where(theirs)):
                named.keys |= _keys(result)
                if state != "succeeded":
                    # a job that has succeeded goes on from nowhere
                    named.keys |= _keys(checkpoint)
                if state == "running":
                    named.folders |= {f"{prefix}/{job_id}/{token}/" for prefix in OF_JOBS}
            for files in session.execute(select(ModelRow.model, ModelRow.matrices).where(ModelRow.job_id.in_(job_ids))):
                named.keys |= _keys(list(files))
            for files in session.execute(
                select(DatasetRow.content, DatasetRow.table).where(DatasetRow.id.in_(dataset_ids))
            ):
                named.keys |= _keys(list(files))
        return named


def _keys(stored: Any) -> set[str]:
    """Return the keys of all files that a stored document names."""
    if isinstance(stored, dict):
        own = {stored["key"]} if isinstance(stored.get("key"), str) else set()
        return own.union(*map(_keys, stored.values()))
    parts: Iterable[Any] = stored if isinstance(stored, list) else ()
    return set().union(*map(_keys, parts))
