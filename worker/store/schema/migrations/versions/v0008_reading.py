"""Datasets tell how their text was read.

Revision 0008. Datasets of before tell nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("reading", sa.JSON()))


def downgrade() -> None:
    op.drop_column("datasets", "reading")
