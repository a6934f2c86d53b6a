"""The tables that the migrations make are the ones that the rows describe."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from support.clock import START
from support.stored import queue_fit, train_model

from worker.contracts.errors import RequestInFlight
from worker.store import idempotency, jobs, models
from worker.store.database import Database
from worker.store.schema import migrate
from worker.store.schema.tables import Base

Open = Callable[[str], Database]


def test_migrated_tables_are_the_rows_own(empty_database_url: str, open_database: Open) -> None:
    database = open_database(empty_database_url)
    database.migrate()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        checks = {check["name"] for check in inspect(connection).get_check_constraints("jobs")}
    assert checks == {"ck_jobs_state", "ck_jobs_lease", "ck_jobs_finished", "ck_jobs_held"}


def test_migrations_go_down_to_nothing_and_up_again(empty_database_url: str, open_database: Open) -> None:
    database = open_database(empty_database_url)
    for _ in range(2):
        database.migrate()
        assert set(inspect(database.engine).get_table_names()) >= set(Base.metadata.tables)
        migrate.downgrade(database.engine.execution_options(writes=True), "base")
        assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}


def test_rows_survive_every_step_down_and_up(database: Database) -> None:
    job_id = queue_fit(database, START, model="kept")
    model_id = train_model(database, START)
    assert isinstance(idempotency.begin(database, "k", "x", START), idempotency.Started)
    before = jobs.get(database, job_id), models.get(database, model_id)
    engine = database.engine.execution_options(writes=True)
    migrate.downgrade(engine, "0001")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT key FROM idempotency_keys").scalars().all() == ["k"]
    migrate.upgrade(engine)
    assert (jobs.get(database, job_id), models.get(database, model_id)) == before
    with pytest.raises(RequestInFlight):
        idempotency.begin(database, "k", "x", START)


def test_migrating_again_changes_nothing(database: Database) -> None:
    before = inspect(database.engine).get_table_names()
    database.migrate()
    assert inspect(database.engine).get_table_names() == before


def test_foreign_keys_are_enforced_after_a_migration(empty_database_url: str, open_database: Open) -> None:
    database = open_database(empty_database_url)
    if database.engine.dialect.name != "sqlite":
        return
    database.migrate()
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_threads_that_migrate_at_once_all_succeed(empty_database_url: str, open_database: Open) -> None:
    databases = [open_database(empty_database_url) for _ in range(8)]
    together = threading.Barrier(len(databases))
    errors: list[BaseException] = []

    def start(database: Database) -> None:
        together.wait()
        try:
            database.migrate()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(inspect(databases[0].engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_processes_that_migrate_at_once_all_succeed(empty_database_url: str, open_database: Open) -> None:
    code = "import sys; from worker.store.database import Database; sys.stdin.read(); Database(sys.argv[1]).migrate()"
    command = [sys.executable, "-c", code, empty_database_url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    endings = [(process.communicate()[1], process.returncode) for process in processes]
    assert endings == [("", 0)] * len(processes)
    assert set(inspect(open_database(empty_database_url).engine).get_table_names()) >= set(Base.metadata.tables)


def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for step in (database.migrate, database.revisions):
        with pytest.raises(migrate.WrongSchema, match="revision 9999, which this version does not know"):
            step()
    with database.reading() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_tables_without_a_revision_or_without_a_column_are_refused(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("ALTER TABLE jobs DROP COLUMN reports"))
    with pytest.raises(migrate.WrongSchema, match=r"lacks jobs\.reports"):
        database.migrate()
    with database.transaction() as session:
        session.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(migrate.WrongSchema, match="no revision"):
        database.migrate()


def test_the_revisions_before_and_after_are_told(empty_database_url: str, open_database: Open) -> None:
    database = open_database(empty_database_url)
    found, newest = database.revisions()
    assert found is None
    assert database.migrate() == (None, newest)
    assert database.migrate() == (newest, newest)
    assert database.revisions() == (newest, newest)
