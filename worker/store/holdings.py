"""Number of stored resources by project."""

from sqlalchemy import func, select

from worker.store.database import Database
from worker.store.schema.tables import DatasetRow, JobRow, ModelRow, Owned

COUNTED: dict[str, type[Owned]] = {"datasets": DatasetRow, "jobs": JobRow, "models": ModelRow}


def by_project(database: Database) -> dict[str, dict[str, int]]:
    """Return the number of datasets, jobs and models of each project that has any."""
    counts: dict[str, dict[str, int]] = {}
    with database.reading() as session:
        for noun, row in COUNTED.items():
            query = select(row.project, func.count()).group_by(row.project)
            if row is JobRow:
                query = query.where(JobRow.parent_id.is_(None))
            for project, count in session.execute(query):
                counts.setdefault(project, dict.fromkeys(COUNTED, 0))[noun] = count
    return counts
