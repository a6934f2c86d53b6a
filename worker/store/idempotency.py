"""A request with an idempotency key runs once; repetitions get the stored response."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from worker.contracts.errors import InvalidRequest, KeyReused, RequestInFlight
from worker.store.database import Database, insert_into, owner
from worker.store.schema.tables import IdempotencyRow

IN_FLIGHT = timedelta(seconds=20)
"""A request without a call of ``keep`` for this long counts as dead."""
MAX_KEY_LENGTH = 255
KEPT = timedelta(hours=24)
"""How long a response is replayed."""


@dataclass(frozen=True)
class Started:
    """The first request with its key: it runs, then calls ``finish`` or ``abandon``."""

    key: str
    token: str


@dataclass(frozen=True)
class Replay:
    """The stored response of the first request."""

    status: int
    headers: dict[str, str]
    body: bytes


def begin(database: Database, key: str, fingerprint: str, now: datetime) -> Started | Replay:
    """Start the request with ``key``, or return its stored response. ``fingerprint`` identifies the body.

    Raises:
        RequestInFlight: the first request with this key still runs.
        KeyReused: the key came before with another body.
        InvalidRequest: the key is too long, or holds NUL or half a surrogate pair.
    """
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidRequest(f"an idempotency key has at most {MAX_KEY_LENGTH} characters, this one {len(key)}")
    with database.transaction() as session:
        started = Started(f"{owner(session)}/{key}", secrets.token_hex(16))
        if _take(session, started, fingerprint, now):
            return started
        row = session.scalars(select(IdempotencyRow).where(IdempotencyRow.key == started.key)).one_or_none()
    if row is None:
        raise RequestInFlight("the first request with this idempotency key has only just ended; try again")
    if row.fingerprint != fingerprint:
        raise KeyReused("this idempotency key came before with another request; use a new key")
    if row.status is None or row.headers is None or row.body is None:
        raise RequestInFlight("the first request with this idempotency key still runs; try again later")
    return Replay(row.status, dict(row.headers), row.body)


def keep(database: Database, started: Started, now: datetime) -> bool:
    """Record that the request still runs. Returns False if another request has taken the key."""
    with database.transaction() as session:
        return _update(session, started, seen_at=now)


def finish(
    database: Database, started: Started, status: int, headers: Mapping[str, str], body: bytes, now: datetime
) -> bool:
    """Store the response. Returns False, and stores nothing, if another request has taken the key."""
    with database.transaction() as session:
        return finish_in(session, started, status, headers, body, now)


def finish_in(
    session: Session, started: Started, status: int, headers: Mapping[str, str], body: bytes, now: datetime
) -> bool:
    """Store the response in the transaction of the request, so that both are committed or neither."""
    return _update(session, started, status=status, headers=dict(headers), body=body, seen_at=now)


def abandon(database: Database, started: Started) -> None:
    """Delete the request: it failed without changes, so the key can be used again."""
    with database.transaction() as session:
        session.execute(
            delete(IdempotencyRow).where(
                IdempotencyRow.key == started.key,
                IdempotencyRow.token == started.token,
                IdempotencyRow.status.is_(None),
            )
        )


def purge(database: Database, now: datetime) -> int:
    """Delete expired responses. Returns their number."""
    with database.transaction() as session:
        gone = delete(IdempotencyRow).where(IdempotencyRow.seen_at <= now - KEPT).returning(IdempotencyRow.key)
        return len(session.execute(gone).all())


def _take(session: Session, started: Started, fingerprint: str, now: datetime) -> bool:
    """Insert the key, or take it over from a dead request with the same body or an expired response."""
    fresh = {
        "fingerprint": fingerprint,
        "token": started.token,
        "seen_at": now,
        "status": None,
        "headers": None,
        "body": None,
    }
    dead = (
        IdempotencyRow.status.is_(None)
        & (IdempotencyRow.seen_at <= now - IN_FLIGHT)
        & (IdempotencyRow.fingerprint == fingerprint)
    )
    taken = session.execute(
        insert_into(session, IdempotencyRow)
        .values(key=started.key, **fresh)
        .on_conflict_do_update(
            index_elements=[IdempotencyRow.key],
            set_=fresh,
            where=or_(dead, IdempotencyRow.seen_at <= now - KEPT),
        )
        .returning(IdempotencyRow.key)
    )
    return taken.one_or_none() is not None


def _update(session: Session, started: Started, **values: object) -> bool:
    changed = session.execute(
        update(IdempotencyRow)
        .where(
            IdempotencyRow.key == started.key,
            IdempotencyRow.token == started.token,
            IdempotencyRow.status.is_(None),
        )
        .values(**values)
        .returning(IdempotencyRow.key)
        .execution_options(synchronize_session=False)
    )
    return changed.one_or_none() is not None
