"""Add an index that counts and times jobs by kind and state.

Revision 0003.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

NAME = "ix_jobs_state_kind_queued_at_started_at_finished_at"


def upgrade() -> None:
    op.create_index(NAME, "jobs", ["state", "kind", "queued_at", "started_at", "finished_at"])


def downgrade() -> None:
    op.drop_index(NAME, "jobs")
