"""Locks that expire: one row per name, held by one owner."""

from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select

from worker.store.database import Database, insert_into
from worker.store.schema.tables import LockRow

RECONCILER = "reconciler"
"""Held by one of the API processes of a service."""


def is_held(database: Database, name: str, now: datetime) -> bool:
    """Return whether the lock is held."""
    with database.reading() as session:
        held = select(LockRow.name).where(LockRow.name == name, LockRow.expires_at > now)
        return session.scalars(held).one_or_none() is not None


def try_lock(database: Database, name: str, owner: str, ttl_s: float, now: datetime) -> bool:
    """Take or extend the lock for ``ttl_s`` seconds from ``now``. Returns whether ``owner`` has it.

    A lock that expires more than twice that later was taken by a clock that ran ahead, and counts as free: its owner
    may be dead.
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
    """Release the lock if ``owner`` has it."""
    with database.transaction() as session:
        session.execute(delete(LockRow).where(LockRow.name == name, LockRow.owner == owner))
