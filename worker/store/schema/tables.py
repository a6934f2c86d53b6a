"""The tables. Rows stay inside this package; callers get contracts."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from worker.store.schema.columns import Json, Text, UtcDateTime

DEFAULT_PROJECT = "default"
"""Owns resources created without a key, or with one of the configured keys."""


OPEN_STATES = "'queued', 'running', 'waiting', 'ready'"
"""Of jobs that have not ended, in SQL."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own way to declare it
        str: Text,
        datetime: UtcDateTime,
        dict[str, Any]: Json,
        list[Any]: Json,
        bytes: LargeBinary,
    }


class Owned:
    """A row that belongs to a project. A database restricted to a project sees no rows of others."""

    project: Mapped[str] = mapped_column(server_default=DEFAULT_PROJECT)


class DatasetRow(Owned, Base):
    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("project", "sha256", "media_type"), Index(None, "project", "id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str]
    rows: Mapped[int] = mapped_column(BigInteger)
    columns: Mapped[list[Any]]
    content: Mapped[dict[str, Any]]
    table: Mapped[dict[str, Any]]
    reading: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


class UploadRow(Owned, Base):
    """A file that is sent in parts. ``request``: what the caller said of it; ``dataset_id``: once it is complete.

    ``dataset_id`` is no foreign key: a dataset may be deleted before the upload that made it has expired.
    """

    __tablename__ = "uploads"
    __table_args__ = (Index(None, "project", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[dict[str, Any]]
    bytes: Mapped[int] = mapped_column(BigInteger)
    part_bytes: Mapped[int] = mapped_column(BigInteger)
    dataset_id: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class UploadPartRow(Base):
    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    file: Mapped[dict[str, Any]]


class BatchRow(Owned, Base):
    __tablename__ = "batches"
    __table_args__ = (Index(None, "project", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[int]
    created_at: Mapped[datetime]


class ModelNameRow(Base):
    """The highest version number ever used for a name; numbers of deleted versions are not reused.

    ``default_version``: the version that the name alone means, None for the newest.
    """

    __tablename__ = "model_names"

    project: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    last_version: Mapped[int]
    default_version: Mapped[int | None]


class ModelRow(Owned, Base):
    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("project", "name", "version"),
        Index(None, "project", "id"),
        Index(None, "project", "name", "id"),
        ForeignKeyConstraint(["project", "name"], ["model_names.project", "model_names.name"]),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    # unique: the last barrier against two models of one job
    job_id: Mapped[str] = mapped_column(unique=True)
    dataset_id: Mapped[str]
    summary: Mapped[dict[str, Any]]
    model: Mapped[dict[str, Any]]
    matrices: Mapped[dict[str, Any]]
    description: Mapped[str | None]
    tags: Mapped[list[Any] | None]
    created_at: Mapped[datetime]


class JobRow(Owned, Base):
    """A job, or a part of one. ``held_…`` name what must not be deleted before it ends; empty in a final state.

    ``parent_id``, ``number``: of a part, the job that it belongs to, and its place in the round. ``round``: of a part
    the round that it belongs to; of a job the one that was planned last, 0 where it has no parts. A job is ``waiting``
    while parts of its round have not ended, and ``ready`` when a worker may take it again. See ``store.jobs.parts``.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"state IN ({OPEN_STATES}, 'succeeded', 'failed', 'cancelled')", name="state"),
        CheckConstraint("(state = 'running') = (lease_expires_at IS NOT NULL)", name="lease"),
        CheckConstraint(f"(state IN ({OPEN_STATES})) = (finished_at IS NULL)", name="finished"),
        CheckConstraint(f"(state IN ({OPEN_STATES})) = (held_dataset_id IS NOT NULL)", name="held"),
        UniqueConstraint("parent_id", "round", "number"),
        Index(None, "state", "id"),
        Index(None, "batch_id", "id", "state"),
        # lists, newest first: each filter reads only the rows of its page
        Index(None, "project", "id"),
        Index(None, "project", "state", "id"),
        Index(None, "project", "kind", "id"),
        Index(None, "project", "kind", "state", "id"),
        Index(None, "project", "model_name", "id", "state", "kind"),
        Index(None, "project", "model_id", "id", "state", "kind"),
        Index(None, "project", "started_at"),
        # covers the query of the metrics
        Index(None, "state", "kind", "queued_at", "started_at", "finished_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    round: Mapped[int] = mapped_column(server_default="0")
    number: Mapped[int | None]
    kind: Mapped[str]
    state: Mapped[str]
    attempt: Mapped[int]
    lost_attempts: Mapped[int]
    token: Mapped[str | None]
    worker: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=false())
    last_seq: Mapped[int]
    # number of stored reports of the running attempt: identifies a repeated report
    reports: Mapped[int] = mapped_column(server_default="0")

    request: Mapped[dict[str, Any]]
    task: Mapped[str | None]
    estimate: Mapped[dict[str, Any] | None] = mapped_column(Json(none_as_null=True))
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batches.id"))
    dataset_id: Mapped[str]
    validation_id: Mapped[str | None]
    model_name: Mapped[str | None]
    model_id: Mapped[str | None]
    held_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    held_validation_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    held_model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"), index=True)

    progress: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(Json(none_as_null=True))
    result: Mapped[dict[str, Any] | None] = mapped_column(Json(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(Json(none_as_null=True))

    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    sends: Mapped[int]
    # the request that queued the job, and its place in a trace (W3C traceparent), for the worker's logs
    request_id: Mapped[str | None]
    traceparent: Mapped[str | None]


class EventRow(Base):
    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class IdempotencyRow(Base):
    """A request with a key: in flight while ``status`` is null, else with its response.

    ``key`` begins with the project: two projects may use the same key.
    """

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    token: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(Json(none_as_null=True))
    body: Mapped[bytes | None]


class ApiKeyRow(Base):
    """A key of a caller. Only the digest of its secret is stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str]
    name: Mapped[str]
    scopes: Mapped[list[Any]]
    digest: Mapped[str]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class LockRow(Base):
    __tablename__ = "locks"

    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    expires_at: Mapped[datetime]
