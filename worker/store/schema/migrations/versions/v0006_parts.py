"""A job may consist of parts, which are rows of jobs too, and waits for them between its rounds.

Revision 0006. Going down deletes all parts and puts jobs that wait for some back into the queue.
"""

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0006"
down_revision = "0005"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
OPEN = ("queued", "running", "waiting", "ready")
OPEN_BEFORE = ("queued", "running")
FINAL = ("succeeded", "failed", "cancelled")
COLUMNS = (
    sa.Column("parent_id", TEXT),
    sa.Column("round", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("number", sa.Integer()),
)


def upgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        for column in COLUMNS:
            table.add_column(column)
        table.create_foreign_key("fk_jobs_parent_id_jobs", "jobs", ["parent_id"], ["id"], ondelete="CASCADE")
        table.create_unique_constraint("uq_jobs_parent_id_round_number", ["parent_id", "round", "number"])
        _change_checks(table, OPEN)


def downgrade() -> None:
    op.execute("DELETE FROM jobs WHERE parent_id IS NOT NULL")
    op.execute("UPDATE jobs SET state = 'queued' WHERE state IN ('waiting', 'ready')")
    jobs = sa.table("jobs", sa.column("id", TEXT), sa.column("progress", sa.JSON()))
    for job_id, progress in op.get_bind().execute(sa.select(jobs.c.id, jobs.c.progress)).all():
        if progress.pop("parts", None) is not None:
            op.execute(sa.update(jobs).where(jobs.c.id == job_id).values(progress=progress))
    with op.batch_alter_table("jobs") as table:
        _change_checks(table, OPEN_BEFORE)
        table.drop_constraint("uq_jobs_parent_id_round_number", type_="unique")
        table.drop_constraint("fk_jobs_parent_id_jobs", type_="foreignkey")
        for column in COLUMNS:
            table.drop_column(column.name)


def _conditions(states: tuple[str, ...]) -> dict[str, str]:
    listed = ", ".join(repr(state) for state in states)
    finals = ", ".join(repr(state) for state in FINAL)
    return {
        "state": f"state IN ({listed}, {finals})",
        "finished": f"(state IN ({listed})) = (finished_at IS NULL)",
        "held": f"(state IN ({listed})) = (held_dataset_id IS NOT NULL)",
    }


def _change_checks(table: BatchOperations, states: tuple[str, ...]) -> None:
    for name, condition in _conditions(states).items():
        table.drop_constraint(op.f(f"ck_jobs_{name}"), type_="check")
        table.create_check_constraint(op.f(f"ck_jobs_{name}"), condition)
