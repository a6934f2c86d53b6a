"""Locks with an end: one row a name, held by one owner until it expires."""

from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select

from worker.store.database import Database, insert_into
from worker.store.schema.tables import LockRow

RECONCILER = "reconciler"
"""Held, again and again, by one of the API processes of a service."""


def is_held(database: Database, name: str, now: datetime) -> bool:
    """Return whether somebody has the lock."""
    with database.reading() as session:
        held = select(LockRow.name).where(LockRow.name == name, LockRow.expires_at > now)
        return session.scalars(held).one_or_none() is not None


def try_lock(database: Database, name: str, owner: str, ttl_s: float, now: datetime) -> bool:
    """Take the lock, or hold it on, for ``ttl_s`` seconds from ``now``. Returns whether ``owner`` has it.

    A lock that would last twice as long was taken by a clock that was ahead, and is nobody's: its owner may be dead,
    and others would wait for as long as that clock had jumped.
    """
    expires_at = now + timedelta(seconds=ttl_s)
    too_late = now + timedelta(seconds=2 * ttl_s)
    with database.transaction() as session:
        taken = session.execute(
            insert_into(session, LockRow)
            .values(name=name, owner=owner, expires_at=expires_at)
            .on_conflict_do_update(
                index_elements=[LockRow.name],
                set_={"owner": owner, "expires_at": expires_at},
                where=or_(LockRow.owner == owner, LockRow.expires_at <= now, LockRow.expires_at > too_late),
            )
            .returning(LockRow.owner)
        )
        return taken.one_or_none() is not None


def unlock(database: Database, name: str, owner: str) -> None:
    """Give the lock back. Nothing happens when ``owner`` does not have it."""
    with database.transaction() as session:
        session.execute(delete(LockRow).where(LockRow.name == name, LockRow.owner == owner))
