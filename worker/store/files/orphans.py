"""Delete files that no row refers to: of dead attempts, of interrupted uploads, of deleted jobs.

A file is written before its row, so a file without a row may still get one. Files of a running attempt are never
deleted. Any other file is deleted after it was found without a row twice, ``patience_s`` apart by a monotonic clock:
timestamps of files are not trusted.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import aliased

from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.store.schema.tables import DatasetRow, JobRow, ModelRow, UploadPartRow

JOB_PREFIXES = ("jobs", "models", "results")
PREFIXES = (*JOB_PREFIXES, "datasets", "uploads", "checks")
FOLDERS_AT_ONCE = 200
"""Folders per call, one for each job, dataset or upload; the next call continues after them."""


@dataclass
class ReferencedFiles:
    """Keys of files that rows refer to, and folders of running attempts."""

    keys: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)

    def has(self, path: str) -> bool:
        """Return whether a row refers to the path, or may soon."""
        return path in self.keys or any(path.startswith(folder) for folder in self.folders)


class Sweeper:
    """Scans storage part by part, again and again. Used by one thread."""

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
        """Check the next folders and delete files that have had no row for long enough. Returns the deleted paths.

        A pass through all folders begins at most once in ``patience_s``.

        Raises:
            OSError: storage cannot be reached.
        """
        now = self._clock()
        if not self._left:
            if self._began is not None and now - self._began < self._patience_s:
                return []
            self._begin_pass(now)
        part, self._left = self._left[:FOLDERS_AT_ONCE], self._left[FOLDERS_AT_ONCE:]
        # files before rows: a file that gets its row in between is referenced
        strays = {f"{prefix}/{name}": self._artifacts.list_strays(f"{prefix}/{name}") for prefix, name in part}
        named = self._named(part)
        deleted: list[str] = []
        for folder, paths in strays.items():
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

    def _named(self, part: Sequence[tuple[str, str]]) -> ReferencedFiles:
        named = ReferencedFiles()
        job_ids = {name for prefix, name in part if prefix in JOB_PREFIXES}
        dataset_ids = {name for prefix, name in part if prefix == "datasets"}
        upload_ids = {name for prefix, name in part if prefix == "uploads"}
        with self._database.reading() as session:
            # the files of a part are in the folders of its job, which needs them until it succeeds
            of_job = aliased(JobRow)
            needed = or_(JobRow.parent_id.is_(None), of_job.state != "succeeded")
            job = func.coalesce(JobRow.parent_id, JobRow.id)
            columns = (job, needed, JobRow.state, JobRow.token, JobRow.checkpoint, JobRow.result)
            theirs = or_(JobRow.id.in_(job_ids), JobRow.parent_id.in_(job_ids))
            rows = select(*columns).outerjoin(of_job, JobRow.parent_id == of_job.id).where(theirs)
            for job_id, is_needed, state, token, checkpoint, result in session.execute(rows):
                if is_needed:
                    named.keys |= _keys(result)
                if state != "succeeded":
                    # a succeeded job does not resume
                    named.keys |= _keys(checkpoint)
                if state == "running":
                    named.folders |= {f"{prefix}/{job_id}/{token}/" for prefix in JOB_PREFIXES}
            for files in session.execute(select(ModelRow.model, ModelRow.matrices).where(ModelRow.job_id.in_(job_ids))):
                named.keys |= _keys(list(files))
            for files in session.execute(
                select(DatasetRow.content, DatasetRow.table).where(DatasetRow.id.in_(dataset_ids))
            ):
                named.keys |= _keys(list(files))
            for file in session.scalars(select(UploadPartRow.file).where(UploadPartRow.upload_id.in_(upload_ids))):
                named.keys |= _keys(file)
        return named


def _keys(stored: Any) -> set[str]:
    """Return the keys of all files in a stored document."""
    if isinstance(stored, dict):
        keys = {stored["key"]} if isinstance(stored.get("key"), str) else set()
        return keys.union(*map(_keys, stored.values()))
    parts: Iterable[Any] = stored if isinstance(stored, list) else ()
    return set().union(*map(_keys, parts))
