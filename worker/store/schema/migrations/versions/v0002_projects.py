"""Add projects, API keys, and the numbers of reports, requests and traces.

Revision 0002. The downgrade needs that no two projects share the name of a model or the bytes of a dataset.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)
OWNED = ("datasets", "batches", "models", "jobs", "model_names")
PREFIX = "default/"


def upgrade() -> None:
    for name in OWNED:
        op.add_column(name, sa.Column("project", TEXT, nullable=False, server_default="default"))
    with op.batch_alter_table("datasets") as table:
        table.drop_constraint("uq_datasets_sha256_media_type", type_="unique")
        table.create_unique_constraint("uq_datasets_project_sha256_media_type", ["project", "sha256", "media_type"])
    with op.batch_alter_table("models") as table:
        table.drop_constraint("fk_models_name_model_names", type_="foreignkey")
        table.drop_constraint("uq_models_name_version", type_="unique")
        table.create_unique_constraint("uq_models_project_name_version", ["project", "name", "version"])
    with op.batch_alter_table("model_names") as table:
        table.drop_constraint("pk_model_names", type_="primary")
        table.create_primary_key("pk_model_names", ["project", "name"])
        table.alter_column("project", server_default=None)
    with op.batch_alter_table("models") as table:
        table.create_foreign_key(
            "fk_models_project_name_model_names", "model_names", ["project", "name"], ["project", "name"]
        )
    op.add_column("jobs", sa.Column("reports", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("request_id", TEXT))
    op.add_column("jobs", sa.Column("traceparent", TEXT))
    op.create_index("ix_jobs_project_state", "jobs", ["project", "state"])
    op.create_index("ix_jobs_project_started_at", "jobs", ["project", "started_at"])
    op.create_table(
        "api_keys",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("project", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.execute(sa.text("UPDATE idempotency_keys SET key = :prefix || key").bindparams(prefix=PREFIX))


def downgrade() -> None:
    op.execute(
        sa.text("UPDATE idempotency_keys SET key = substr(key, :start) WHERE key LIKE :pattern").bindparams(
            start=len(PREFIX) + 1, pattern=f"{PREFIX}%"
        )
    )
    op.drop_table("api_keys")
    op.drop_index("ix_jobs_project_started_at", "jobs")
    op.drop_index("ix_jobs_project_state", "jobs")
    with op.batch_alter_table("models") as table:
        table.drop_constraint("fk_models_project_name_model_names", type_="foreignkey")
        table.drop_constraint("uq_models_project_name_version", type_="unique")
        table.create_unique_constraint("uq_models_name_version", ["name", "version"])
    with op.batch_alter_table("model_names") as table:
        table.drop_constraint("pk_model_names", type_="primary")
        table.create_primary_key("pk_model_names", ["name"])
    with op.batch_alter_table("models") as table:
        table.create_foreign_key("fk_models_name_model_names", "model_names", ["name"], ["name"])
    with op.batch_alter_table("datasets") as table:
        table.drop_constraint("uq_datasets_project_sha256_media_type", type_="unique")
        table.create_unique_constraint("uq_datasets_sha256_media_type", ["sha256", "media_type"])
    for column in ("traceparent", "request_id", "reports"):
        op.drop_column("jobs", column)
    for name in OWNED:
        with op.batch_alter_table(name) as table:
            table.drop_column("project")
