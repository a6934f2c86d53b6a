"""Add descriptions, tags and default versions of models.

Revision 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("models", sa.Column("description", TEXT))
    op.add_column("models", sa.Column("tags", sa.JSON()))
    op.add_column("model_names", sa.Column("default_version", sa.Integer()))


def downgrade() -> None:
    with op.batch_alter_table("model_names") as table:
        table.drop_column("default_version")
    with op.batch_alter_table("models") as table:
        table.drop_column("tags")
        table.drop_column("description")
