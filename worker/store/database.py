"""The connection to SQLite or PostgreSQL, and short transactions on it.

If the database is unreachable, locked or restarting, calls raise ``sqlalchemy.exc.OperationalError`` and can be
retried.
"""

import copy
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, Select, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Compiled, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from worker.environment.home import make_home
from worker.store.files.disk_full import Reserve
from worker.store.schema import migrate
from worker.store.schema.tables import DEFAULT_PROJECT, Base, Owned

T = TypeVar("T")

BUSY_SECONDS = 30
"""How long a transaction waits for a lock."""
SWITCH_SECONDS = 0.02
CONNECT_SECONDS = 5
SILENCE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""A dead server is noticed within half a minute instead of after hours."""
SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
"""The second code is for the index of the write-ahead log, which grows with the log."""
IDLE_SECONDS = 30
"""PostgreSQL ends a transaction after this idle time: a stopped process must not keep a job's row locked."""


class _Session(Session):
    """A session that sees only the rows of one project: ``info["project"]``."""


@event.listens_for(_Session, "do_orm_execute")
def _keep_to_project(state: ORMExecuteState) -> None:
    """Restrict every SELECT, UPDATE and DELETE of owned rows to the project of the session."""
    project = state.session.info["project"]
    if project is not None and not state.is_insert:
        state.statement = state.statement.options(
            with_loader_criteria(Owned, lambda row: row.project == project, include_aliases=True)
        )


class Database:
    """One engine and its pool. Threads share it; processes do not.

    ``project``: the owner of the rows it sees and creates; None sees all rows and creates in the default project.
    """

    def __init__(self, url: str) -> None:
        self.project: str | None = None
        parsed = make_url(url)
        self._reserve: Reserve | None = None
        if parsed.get_backend_name() == "sqlite":
            self.engine = _sqlite(url, parsed.database)
            self._reserve = Reserve(Path(f"{parsed.database}.reserve"))
        elif parsed.get_backend_name() == "postgresql":
            self.engine = _postgresql(url)
        else:
            raise ValueError(f"the database must be sqlite or postgresql, not {parsed.get_backend_name()!r}")
        self._writing = self.engine.execution_options(writes=True)
        self._compiled: dict[Select[Any], Compiled] = {}

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction that may write; committed at the end, rolled back on an error."""
        with _Session(self._writing, expire_on_commit=False, info=self._info()) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads. On SQLite it waits for no writer."""
        with _Session(self.engine, expire_on_commit=False, info=self._info()) as session, session.begin():
            yield session

    def scalar(self, statement: Select[Any], values: Mapping[str, Any]) -> Any:
        """Return the first value of a SELECT of texts and numbers, None if there is no row.

        It calls the driver directly: SQLAlchemy's overhead is several times the time of a short statement. The compiled
        statement is cached, so callers must reuse ``statement``.

        Raises:
            OperationalError: the database did not answer.
        """
        dialect = self.engine.dialect
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = statement.compile(dialect=dialect)
        sql = str(compiled)
        named = compiled.construct_params(dict(values)) or {}
        order = compiled.positiontup  # type: ignore[attr-defined]
        parameters = named if order is None else tuple(named[name] for name in order)
        errors = dialect.dbapi.Error  # type: ignore[union-attr]
        connection: PoolProxiedConnection | None = None
        try:
            connection = self.engine.raw_connection()
            cursor = connection.cursor()
            cursor.execute(sql, parameters)
            row = cursor.fetchone()
            cursor.close()
        except errors as error:
            if connection is not None and dialect.is_disconnect(error, connection.driver_connection, None):
                connection.invalidate(error)
            raise DBAPIError.instance(sql, parameters, error, errors, dialect=dialect) from error
        finally:
            if connection is not None:
                connection.close()
        return None if row is None else row[0]

    def for_project(self, project: str | None) -> Self:
        """Return this database restricted to a project; None: unrestricted."""
        scoped = copy.copy(self)
        scoped.project = project
        return scoped

    def free(self, step: Callable[[Session], T]) -> T:
        """Return the result of ``step`` in a transaction that deletes rows, even on a full disk.

        SQLite writes a log before it deletes. On a full disk it gets the space of the ``Reserve`` for that.

        Raises:
            OperationalError: the database did not answer; see ``is_full``.
        """
        if self._reserve is not None:
            self._reserve.keep()
        try:
            with self.transaction() as session:
                return step(session)
        except OperationalError as error:
            if self._reserve is None or not is_full(error) or not self._reserve.give():
                raise
        with self.transaction() as session:
            return step(session)

    def migrate(self) -> tuple[str | None, str | None]:
        """Migrate the tables to the newest revision. Several processes may do so at once.

        Returns the revisions before and after.

        Raises:
            WrongSchema: a later version has migrated the database, or its tables do not match its revision.
        """
        revisions = migrate.upgrade(self._writing)
        if self._reserve is not None:
            self._reserve.keep()
        return revisions

    def revisions(self) -> tuple[str | None, str]:
        """Return the database's revision, None without one, and the newest revision of this version."""
        return migrate.revisions(self.engine)

    def check(self) -> None:
        """Check that the database answers.

        Raises:
            OperationalError: it did not answer.
        """
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _info(self) -> dict[str, str | None]:
        return {"project": self.project}


def owner(session: Session) -> str:
    """Return the project of rows created in this session."""
    project: str | None = session.info["project"]
    return DEFAULT_PROJECT if project is None else project


def advisory_lock(session: Session, what: str) -> None:
    """Exclude other transactions with the same ``what`` until the commit. SQLite has only one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": what})


def insert_into(session: Session, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT with support for ON CONFLICT in the session's dialect."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def is_foreign_key_violation(error: IntegrityError) -> bool:
    """Return whether ``error`` is a foreign key violation: a row is missing, or a row to delete is still in use."""
    if isinstance(error.orig, psycopg.Error):
        return isinstance(error.orig, psycopg.errors.ForeignKeyViolation | psycopg.errors.RestrictViolation)
    return getattr(error.orig, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_FOREIGNKEY"


def is_full(error: DBAPIError) -> bool:
    """Return whether the disk of the database is full."""
    if isinstance(error.orig, psycopg.Error):
        return isinstance(error.orig, psycopg.errors.DiskFull)
    return getattr(error.orig, "sqlite_errorname", "") in SQLITE_FULL


def _sqlite(url: str, path: str | None) -> Engine:
    if path is None or path in {"", ":memory:"}:
        raise ValueError("SQLite needs a file: a database in memory has one process and one connection only")
    make_home(Path(path).parent)
    # The driver's implicit transactions are off: they take the write lock late, which fails at once with "database is
    # locked" instead of waiting.
    engine = create_engine(
        url, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None}, pool_size=5, max_overflow=15
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: DBAPICursor) -> None:
    """Switch the file to write-ahead logging, permanently.

    The first switch needs exclusive access, and SQLite does not wait for that as it does for other locks.
    """
    gives_up_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > gives_up_at:
                raise
            time.sleep(SWITCH_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: str) -> Engine:
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=15,
        connect_args={"connect_timeout": CONNECT_SECONDS, **SILENCE},
    )
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "handle_error", _ended_by_server)
    return engine


def _prepare_postgresql(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    cursor.close()
    connection.commit()


def _ended_by_server(context: ExceptionContext) -> None:
    """Report a transaction that the server ended as idle as a lost connection."""
    error = context.original_exception
    if isinstance(error, psycopg.errors.IdleInTransactionSessionTimeout):
        context.is_disconnect = True
        raise OperationalError(context.statement, None, error, connection_invalidated=True) from error
