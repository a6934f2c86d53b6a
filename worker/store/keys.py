"""API keys: stored as digests, shown once, revoked but never deleted.

A secret has 256 random bits, so one round of SHA-256 is enough: it cannot be guessed.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select, update

from worker.contracts.errors import InvalidRequest, NotFound
from worker.contracts.keys import ApiKey, Scope
from worker.store.database import Database
from worker.store.ids import new_id
from worker.store.schema.columns import storable
from worker.store.schema.tables import ApiKeyRow

PROJECT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SECRET_BYTES = 32
MARK = "."
"""Separates the id of a key from its secret."""


def create(
    database: Database, *, project: str, name: str, scopes: Sequence[Scope], now: datetime
) -> tuple[ApiKey, str]:
    """Store a key. Returns it with the text that callers send, which is not stored.

    Raises:
        InvalidRequest: the project's name is invalid, or there is no scope.
    """
    if not PROJECT.fullmatch(project):
        raise InvalidRequest(
            f"the project {project!r} cannot be: 1 to 63 lower-case letters, digits and '-', the first no '-'"
        )
    if not scopes:
        raise InvalidRequest("a key needs at least one scope: read, write or admin")
    key = ApiKey(id=new_id("key", now), project=project, name=name, scopes=tuple(dict.fromkeys(scopes)), created_at=now)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with database.transaction() as session:
        session.execute(
            insert(ApiKeyRow).values(
                id=key.id,
                project=project,
                name=name,
                scopes=[scope.value for scope in key.scopes],
                digest=_digest(secret),
                created_at=now,
            )
        )
    return key, f"{key.id}{MARK}{secret}"


def find(database: Database, text: str) -> ApiKey | None:
    """Return the key for a text; None if it is unknown or revoked."""
    key_id, _, secret = text.partition(MARK)
    if not storable(text):
        return None
    with database.reading() as session:
        row = session.get(ApiKeyRow, key_id)
    # an unknown key is compared too, so that the time does not reveal which ids exist
    known = hmac.compare_digest(_digest(secret), "" if row is None else row.digest)
    return _to_key(row) if row is not None and known and row.revoked_at is None else None


def list_all(database: Database) -> list[ApiKey]:
    """Return every key, with revoked ones, in order of creation."""
    with database.reading() as session:
        return [_to_key(row) for row in session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.id))]


def any_made(database: Database) -> bool:
    """Return whether a key was ever created: revoking the last one must not open the service to everybody."""
    with database.reading() as session:
        return session.scalars(select(ApiKeyRow.id).limit(1)).one_or_none() is not None


def revoke(database: Database, key_id: str, now: datetime) -> ApiKey:
    """Revoke a key; a revoked one stays unchanged.

    Raises:
        NotFound: no such key.
    """
    with database.transaction() as session:
        row = session.get(ApiKeyRow, key_id) if storable(key_id) else None
        if row is None:
            raise NotFound(f"there is no key {key_id!r}")
        session.execute(
            update(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None)).values(revoked_at=now)
        )
        session.refresh(row)
        return _to_key(row)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _to_key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        project=row.project,
        name=row.name,
        scopes=tuple(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
