"""Migrate a database to a revision, atomically and by one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect, text

from worker.store.schema.tables import Base

LOCK = 0x464143545246
"""Key of the advisory lock that PostgreSQL keeps for migrations."""


class WrongSchema(CommandError):
    """This version neither made the database nor can migrate it."""


def upgrade(engine: Engine, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate up to ``revision``. Waits while another process migrates. Returns the revisions before and after.

    Raises:
        WrongSchema: a later version has migrated it, or its tables do not match its revision.
    """
    with _migrating(engine) as config:
        connection: Connection = config.attributes["connection"]
        before = _known(connection, config)
        command.upgrade(config, revision)
        after = _current(connection)
        if after == _newest(config):
            _compare(connection)
        return before, after


def revisions(engine: Engine) -> tuple[str | None, str]:
    """Return the database's revision, None without one, and the newest revision of this version.

    Raises:
        WrongSchema: a later version has migrated it, or it has tables and no revision.
    """
    with engine.connect() as connection:
        config = _config()
        return _known(connection, config), _newest(config)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to ``revision``; ``base`` drops everything."""
    with _migrating(engine) as config:
        command.downgrade(config, revision)


@contextmanager
def _migrating(engine: Engine) -> Iterator[Config]:
    config = _config()
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        config.attributes["connection"] = connection
        yield config


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let SQLite rebuild a table without deleting rows that refer to it; the pragma works only outside transactions."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.cursor()
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")
        driver.close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _newest(config: Config) -> str:
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None  # noqa: S101 - there is a first revision
    return head


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _known(connection: Connection, config: Config) -> str | None:
    """Return the database's revision, None for a database without these tables.

    Raises:
        WrongSchema: this version does not know it, or there are tables and no revision.
    """
    current = _current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise WrongSchema(
            f"it is at revision {current}, which this version does not know (its newest is {_newest(config)}): a later "
            "version has migrated it; run that one, or restore a copy from before"
        )
    ours = sorted(set(Base.metadata.tables) & set(inspect(connection).get_table_names()))
    if current is None and ours:
        raise WrongSchema(
            f"it has the tables {', '.join(ours)} and no revision: they were not made by 'factrfm migrate'"
        )
    return current


def _compare(connection: Connection) -> None:
    """Check that every table and column exists.

    Raises:
        WrongSchema: one is missing.
    """
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    missing = [name for name in Base.metadata.tables if name not in there]
    for name, table in Base.metadata.tables.items():
        if name in there:
            columns = {column["name"] for column in inspector.get_columns(name)}
            missing += [f"{name}.{column.name}" for column in table.columns if column.name not in columns]
    if missing:
        raise WrongSchema(f"it says that it is at the newest revision and lacks {', '.join(missing)}: restore a copy")
