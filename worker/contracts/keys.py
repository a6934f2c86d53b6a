"""API keys and their scopes."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from worker.contracts.base import Contract


class Scope(StrEnum):
    """read: look, download, predict. write: upload, submit, cancel, delete. admin: all of it, and the metrics."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class ApiKey(Contract):
    """A key without its secret."""

    id: str = Field(description="Begins with key_.")
    project: str = Field(description="Whose datasets, jobs and models it opens.")
    name: str = Field(description="What the key is for, as its maker said.")
    scopes: tuple[Scope, ...]
    created_at: datetime
    revoked_at: datetime | None = Field(None, description="From when on it opens nothing.")
