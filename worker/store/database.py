"""The connection to SQLite or PostgreSQL, and short transactions on it.

What fails because the database is away, locked or restarting surfaces as ``sqlalchemy.exc.OperationalError``; the
step can then be tried again.
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
"""A server that is not there any more is noticed within half a minute, instead of after hours."""
SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
"""The second one is of the index of the write-ahead log, which grows with it."""
IDLE_SECONDS = 30
"""PostgreSQL ends a transaction that is silent for so long: a stopped process must not keep a job's row locked."""


class _Session(Session):
    """A session that may see the rows of one project only: ``info["project"]``."""


@event.listens_for(_Session, "do_orm_execute")
def _keep_to_project(state: ORMExecuteState) -> None:
    """Add the project to every SELECT, UPDATE and DELETE of rows that have one, so that no caller can forget it."""
    project = state.session.info["project"]
    if project is not None and not state.is_insert:
        state.statement = state.statement.options(
            with_loader_criteria(Owned, lambda row: row.project == project, include_aliases=True)
        )


class Database:
    """One engine and its pool. Threads share it; processes do not.

    ``project``: whose rows it sees and makes; None sees all and makes those of the default project.
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
        """Return the first value of a SELECT of texts and numbers, None where it finds nothing.

        It asks the driver itself: what SQLAlchemy does around a statement takes several times as long as a short one.
        ``statement`` is kept with what it was compiled to, so it is made once.

        Raises:
            OperationalError: the database did not answer.
        """
        dialect = self.engine.dialect
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = statement.compile(dialect=dialect)
        text_of = str(compiled)
        parameters = compiled.construct_params(dict(values)) or {}
        ordered = compiled.positiontup  # type: ignore[attr-defined]
        asked = parameters if ordered is None else tuple(parameters[name] for name in ordered)
        errors = dialect.dbapi.Error  # type: ignore[union-attr]
        connection: PoolProxiedConnection | None = None
        try:
            connection = self.engine.raw_connection()
            cursor = connection.cursor()
            cursor.execute(text_of, asked)
            row = cursor.fetchone()
            cursor.close()
        except errors as error:
            if connection is not None and dialect.is_disconnect(error, connection.driver_connection, None):
                connection.invalidate(error)
            raise DBAPIError.instance(text_of, asked, error, errors, dialect=dialect) from error
        finally:
            if connection is not None:
                connection.close()
        return None if row is None else row[0]

    def of(self, project: str | None) -> Self:
        """Return the same database as ``project`` sees it; None: all of it."""
        scoped = copy.copy(self)
        scoped.project = project
        return scoped

    def free(self, step: Callable[[Session], T]) -> T:
        """Return what ``step`` does in a transaction that makes room.

        SQLite writes down what it deletes before it does. On a full disk the ``Reserve`` is given for that.

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
        """Bring the tables to the newest revision. Several processes may do so at once.

        Returns the revisions before and after.

        Raises:
            WrongSchema: it was made by a later version, or its tables are not those that its revision says.
        """
        found = migrate.upgrade(self._writing)
        if self._reserve is not None:
            self._reserve.keep()
        return found

    def revisions(self) -> tuple[str | None, str]:
        """Return the database's revision, None where it has none, and the newest that this version knows."""
        return migrate.revisions(self.engine)

    def check(self) -> None:
        """Reach the database.

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
    """Return the project that rows made in this session belong to."""
    project: str | None = session.info["project"]
    return DEFAULT_PROJECT if project is None else project


def one_at_a_time(session: Session, what: str) -> None:
    """Let no other transaction that says the same go beside this one. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": what})


def insert_into(session: Session, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that knows ON CONFLICT in the session's dialect."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def names_a_missing_row(error: IntegrityError) -> bool:
    """Return whether ``error`` is a broken foreign key: a named row is gone, or a row to delete is still named."""
    if isinstance(error.orig, psycopg.Error):
        return isinstance(error.orig, psycopg.errors.ForeignKeyViolation | psycopg.errors.RestrictViolation)
    return getattr(error.orig, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_FOREIGNKEY"


def is_full(error: DBAPIError) -> bool:
    """Return whether the database says that its disk is full."""
    if isinstance(error.orig, psycopg.Error):
        return isinstance(error.orig, psycopg.errors.DiskFull)
    return getattr(error.orig, "sqlite_errorname", "") in SQLITE_FULL


def _sqlite(url: str, path: str | None) -> Engine:
    if path is None or path in {"", ":memory:"}:
        raise ValueError("SQLite needs a file: a database in memory has one process and one connection only")
    make_home(Path(path).parent)
    # The driver's own way of opening transactions is off: it begins late and takes the write lock later still, which
    # fails at once ("database is locked") where waiting would do.
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
    """Switch the file to its write-ahead log, which it then keeps.

    The first switch needs the file alone, and SQLite does not wait for that as it does for other locks.
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
    """Let a transaction that the server ended for its silence look like the lost connection that it is."""
    error = context.original_exception
    if isinstance(error, psycopg.errors.IdleInTransactionSessionTimeout):
        context.is_disconnect = True
        raise OperationalError(context.statement, None, error, connection_invalidated=True) from error
