"""A lock has one owner until it expires."""

from support.clock import Clock

from worker.store.database import Database
from worker.store.locks import try_lock, unlock


def test_a_lock_has_one_owner_until_it_expires(database: Database) -> None:
    clock = Clock()
    assert try_lock(database, "name", "a", 10, clock())
    assert not try_lock(database, "name", "b", 10, clock.pass_seconds(9))
    assert try_lock(database, "other", "b", 10, clock())
    assert try_lock(database, "name", "a", 10, clock())
    assert not try_lock(database, "name", "b", 10, clock.pass_seconds(9))
    assert try_lock(database, "name", "b", 10, clock.pass_seconds(1))
    assert not try_lock(database, "name", "a", 10, clock())


def test_only_the_owner_gives_a_lock_back(database: Database) -> None:
    clock = Clock()
    try_lock(database, "name", "a", 10, clock())
    unlock(database, "name", "b")
    assert not try_lock(database, "name", "b", 10, clock())
    unlock(database, "name", "a")
    assert try_lock(database, "name", "b", 10, clock())


def test_a_lock_of_a_clock_that_was_hours_ahead_is_nobodys(database: Database) -> None:
    clock = Clock()
    ahead = Clock(clock.pass_seconds(7200))
    assert try_lock(database, "name", "a", 10, ahead())
    assert try_lock(database, "name", "b", 10, clock.pass_seconds(-7200))
    assert not try_lock(database, "name", "c", 10, clock())
