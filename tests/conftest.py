"""Fixtures of all tests: databases of both kinds, fresh and migrated."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from support.draws import EVERY_TIME
from support.postgres import PostgresServer, find_binaries

from worker.store.database import Database

# a shell that runs the tests in the background has them ignore SIGINT, and what they start would too
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the renderer that structlog begins with draws the variables of every frame: seconds for each error that is logged
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
)

DIALECTS = ("sqlite", "postgresql")

# machines are shared: how long an example takes says nothing of whether it is right; the same examples every time,
# because a change is judged by what it changes, and `make properties` draws others
settings.register_profile(EVERY_TIME, deadline=None, derandomize=True, max_examples=40)
settings.register_profile("other", deadline=None)
settings.load_profile(EVERY_TIME)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    server = PostgresServer(binaries)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """Name of a migrated database to copy."""
    name = postgres.create()
    _migrate(postgres.url(name))
    return name


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a migrated database, on SQLite and on PostgreSQL."""
    if dialect == "sqlite":
        path = tmp_path / "factrfm.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        name = server.create(template=request.getfixturevalue("postgres_template"))
        yield server.url(name)
        server.drop(name)


@pytest.fixture
def empty_database_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a database without tables, on SQLite and on PostgreSQL."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        name = server.create()
        yield server.url(name)
        server.drop(name)


@pytest.fixture
def open_database() -> Iterator[Callable[[str], Database]]:
    """Opens databases that are closed after the test."""
    opened: list[Database] = []

    def open_one(url: str) -> Database:
        opened.append(Database(url))
        return opened[-1]

    yield open_one
    for one in opened:
        one.dispose()


@pytest.fixture
def database(database_url: str, open_database: Callable[[str], Database]) -> Database:
    """A migrated database, on SQLite and on PostgreSQL."""
    return open_database(database_url)


def _migrate(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.dispose()
