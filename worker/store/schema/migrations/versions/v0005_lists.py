"""Add indexes for the pages of lists by project.

Revision 0005.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

Indexes = dict[str, list[tuple[str, ...]]]

NEW: Indexes = {
    "jobs": [
        ("project", "id"),
        ("project", "state", "id"),
        ("project", "kind", "id"),
        ("project", "kind", "state", "id"),
        ("project", "model_name", "id", "state", "kind"),
        ("project", "model_id", "id", "state", "kind"),
        ("batch_id", "id", "state"),
    ],
    "datasets": [("project", "id")],
    "models": [("project", "id"), ("project", "name", "id")],
    "batches": [("project", "id")],
}
OLD: Indexes = {"jobs": [("batch_id", "id"), ("project", "state"), ("model_name",), ("model_id",)]}
"""Indexes that are a prefix of a new one, or serve only lists."""


def upgrade() -> None:
    _create(NEW)
    _drop(OLD)


def downgrade() -> None:
    _create(OLD)
    _drop(NEW)


def _create(indexes: Indexes) -> None:
    for table, entries in indexes.items():
        for columns in entries:
            op.create_index(_name(table, columns), table, list(columns))


def _drop(indexes: Indexes) -> None:
    for table, entries in indexes.items():
        for columns in entries:
            op.drop_index(_name(table, columns), table)


def _name(table: str, columns: tuple[str, ...]) -> str:
    return "_".join(("ix", table, *columns))
