"""Transactions are whole, readers do not wait, and a database that goes away is an OperationalError."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session
from support.clock import START
from support.postgres import PostgresServer
from support.stored import at_once, fit_done, queue_fit

from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import Job
from worker.store import database as database_module
from worker.store import jobs, locks, models
from worker.store.database import Database
from worker.store.schema.columns import storable
from worker.store.schema.tables import LockRow

Open = Callable[[str], Database]


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def write_and_fail() -> None:
        with database.transaction() as session:
            session.add(LockRow(name="a", owner="b", expires_at=START))
            session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_fail()
    assert locks.try_lock(database, "a", "c", 1, START)


def test_moments_keep_their_microseconds_and_come_back_in_utc(database: Database) -> None:
    moment = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=5)))
    assert locks.try_lock(database, "a", "b", 0, moment)
    with database.reading() as session:
        stored = session.get_one(LockRow, "a").expires_at
    assert stored == moment
    assert stored.utcoffset() == timedelta(0)


def test_naive_moments_are_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="time zone"):
        locks.try_lock(database, "a", "b", 0, datetime(2026, 5, 6))


@pytest.mark.parametrize("wrong", ["a\x00b", "\ud800"])
def test_text_that_one_database_cannot_hold_is_refused_by_both(database: Database, wrong: str) -> None:
    assert not storable(wrong)
    with pytest.raises(InvalidRequest, match="NUL or half a surrogate"):
        locks.try_lock(database, wrong, "b", 0, START)


def test_any_other_text_is_kept(database: Database) -> None:
    name = "".join(map(chr, range(1, 0x180))) + "日本 🎉"
    assert locks.try_lock(database, name, "b", 0, START)
    with database.reading() as session:
        assert session.get_one(LockRow, name).owner == "b"


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    job_id = queue_fit(database, START)
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET worker = 'writing'"))
        [seen] = at_once([lambda: jobs.get(database, job_id)])
        assert isinstance(seen, Job)
        assert seen.state == "queued"


def test_a_writer_waits_for_another(database: Database) -> None:
    job_id = queue_fit(database, START)
    claims: list[jobs.Claim | None] = []
    thread = threading.Thread(target=lambda: claims.append(jobs.claim(database, job_id, "w", 1, START)))
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET sends = 7"))
        thread.start()
    thread.join()
    [claim] = claims
    assert claim is not None


def test_a_lock_that_does_not_come_is_an_operational_error(
    database_url: str, open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)
    database = open_database(database_url)
    job_id = queue_fit(database, START)
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET worker = 'writing'"))
        [outcome] = at_once([lambda: jobs.claim(database, job_id, "w", 1, START)])
    assert isinstance(outcome, OperationalError)
    assert jobs.claim(database, job_id, "w", 1, START) is not None


def test_a_database_answers_its_check(database: Database) -> None:
    database.check()


def test_a_value_that_the_driver_is_asked_for_is_what_a_session_finds(database: Database) -> None:
    query = select(LockRow.owner).where(LockRow.name == bindparam("name")).limit(1)
    assert database.scalar(query, {"name": "a"}) is None
    assert locks.try_lock(database, "a", "b", 5, START)
    assert locks.try_lock(database, "c", "d", 5, START)
    assert [database.scalar(query, {"name": name}) for name in ("a", "c", "a", "none")] == ["b", "d", "b", None]
    with database.reading() as session:
        assert session.scalar(query, {"name": "a"}) == "b"


def test_a_value_from_a_database_that_is_away_is_an_operational_error_until_it_is_back(
    postgres: PostgresServer, postgres_template: str, open_database: Open
) -> None:
    database = open_database(postgres.url(postgres.create(postgres_template)))
    query = select(LockRow.owner).where(LockRow.name == bindparam("name"))
    assert database.scalar(query, {"name": "a"}) is None
    postgres.halt()
    try:
        with pytest.raises(OperationalError):
            database.scalar(query, {"name": "a"})
    finally:
        postgres.start()
    assert database.scalar(query, {"name": "a"}) is None


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="file"):
        Database("sqlite://")
    with pytest.raises(ValueError, match="sqlite or postgresql"):
        Database("oracle://host/name")


def test_the_folder_of_an_sqlite_file_is_made(tmp_path: Path, open_database: Open) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'a' / 'b.db'}")
    database.migrate()
    database.check()


def end_connection(session: Session, postgres: PostgresServer) -> None:
    pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    postgres.execute(f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_connection_lost_within_a_transaction_is_an_operational_error_and_leaves_nothing(
    postgres: PostgresServer, postgres_template: str, open_database: Open
) -> None:
    database = open_database(postgres.url(postgres.create(postgres_template)))
    claim = jobs.claim(database, queue_fit(database, START), "w", 30, START)
    assert claim is not None

    def write_and_lose_the_connection() -> None:
        with database.transaction() as session:
            models.insert(
                session, project="default", name="m", job_id=claim.job_id, dataset_id="ds", done=fit_done(), now=START
            )
            end_connection(session, postgres)
            session.execute(text("SELECT 1"))

    with pytest.raises(OperationalError):
        write_and_lose_the_connection()
    assert models.list_page(database).items == []
    assert jobs.succeed_fit(database, claim.job_id, claim.token, fit_done(), START) is not None


def test_a_connection_lost_at_the_commit_is_an_operational_error(
    postgres: PostgresServer, postgres_template: str, open_database: Open
) -> None:
    database = open_database(postgres.url(postgres.create(postgres_template)))

    def write_and_lose_the_connection() -> None:
        with database.transaction() as session:
            session.add(LockRow(name="a", owner="b", expires_at=START))
            session.flush()
            end_connection(session, postgres)

    with pytest.raises(OperationalError):
        write_and_lose_the_connection()
    assert locks.try_lock(database, "a", "c", 1, START)


def test_a_server_that_crashes_and_returns_loses_nothing(open_database: Open, postgres: PostgresServer) -> None:
    name = postgres.create()
    database = open_database(postgres.url(name))
    database.migrate()
    job_id = queue_fit(database, START)
    postgres.halt()
    try:
        with pytest.raises(OperationalError):
            database.check()
        with pytest.raises(OperationalError):
            jobs.claim(database, job_id, "w", 1, START)
    finally:
        postgres.start()
    assert jobs.claim(database, job_id, "w", 1, START) is not None


def test_a_process_that_stops_within_a_transaction_does_not_keep_its_locks(
    postgres: PostgresServer, postgres_template: str, open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url(postgres.create(postgres_template))
    monkeypatch.setattr(database_module, "IDLE_SECONDS", 0.2)
    stopping = open_database(url)
    stopping.check()
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 5)
    working = open_database(url)
    job_id = queue_fit(working, START)
    claims: list[jobs.Claim | None] = []

    def write_and_fall_silent() -> None:
        with stopping.transaction() as session:
            session.execute(text("UPDATE jobs SET worker = 'stopped'"))
            claims.append(jobs.claim(working, job_id, "w", 1, START))
            session.execute(text("SELECT 1"))

    with pytest.raises(OperationalError):
        write_and_fall_silent()
    assert len(claims) == 1
    assert claims[0] is not None
    stopping.check()
