"""Checks before a process starts, so that a misconfiguration is one line and not a traceback.

Messages show addresses without user, password and query.
"""

import errno
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.errors import CannotStart, WrongSetting
from service.local import shadowing
from service.settings import ServiceSettings
from worker.environment.home import make_home
from worker.settings import SharedSettings

if TYPE_CHECKING:
    from worker.store.database import Database

# The libraries of the database, the queue and the device are imported where they are used, because that takes seconds.

LISTENING = ("FACTRFM_HOST (--host of up)", "FACTRFM_PORT, or --port of up")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
RIGHT_DATABASE = "it must look like postgresql+psycopg://user:password@host:5432/name or sqlite:////folder/file.db"
RIGHT_REDIS = "it must look like redis://host:6379/0, rediss://host:6379/0 or redis+socket:///folder/redis.sock"
RIGHT_STORAGE = "it must be a folder, or an fsspec address such as s3://bucket/path"
RIGHT_FOLDER = "it must be a folder that this user can write"


def check_exposure(settings: ServiceSettings) -> None:
    """Check that a service that other machines can reach has keys.

    Raises:
        WrongSetting: it has none.
        CannotStart: the database does not answer.
    """
    if settings.host in LOOPBACK or settings.api_keys:
        return
    check_state(settings)
    with open_database(settings, migrate=True) as database:
        from worker.store import keys

        if not keys.any_made(database):
            raise WrongSetting(
                f"FACTRFM_HOST (--host of up) is {settings.host!r}: it can be reached from other machines, so callers "
                "need keys; make one by 'factrfm keys create', set FACTRFM_API_KEYS, or listen on 127.0.0.1"
            )


def check_packages() -> None:
    """Check that child processes will import our packages.

    Raises:
        CannotStart: Python finds other packages of the same name first.
    """
    if shadows := shadowing.find_shadows():
        raise CannotStart(f"for the processes to start {shadowing.describe(shadows)}")


def check_port(host: str, port: int, names: tuple[str, str] = LISTENING) -> None:
    """Check that a process can listen there. ``names``: of the settings of host and port.

    Raises:
        WrongSetting: the machine has no such address.
        CannotStart: the port is in use or not permitted.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (socket.gaierror, UnicodeError) as error:
        raise _no_such_host(host, names[0]) from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise _no_such_host(host, names[0]) from error
        raise CannotStart(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port by {names[1]}"
        ) from error


def check_state(settings: SharedSettings, *, make: bool = True) -> None:
    """Check the folders and the syntax of addresses, without connecting. ``make``: create missing folders.

    Raises:
        WrongSetting: one of them is invalid.
    """
    if make and (settings.database_url is None or settings.storage_url is None):
        check_folder("FACTRFM_HOME (--home of up)", settings.home.absolute(), make_home)
    if not re.fullmatch(r"[^\s,]+", settings.queue):
        raise WrongSetting(f"FACTRFM_QUEUE is {settings.queue!r}: it must be one name, without commas and blanks")
    _check_redis_address(settings.redis_address)
    if settings.storage_url is not None:
        _check_storage_address(settings.storage_url)


def _make(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def check_folder(name: str, path: Path, make: Callable[[Path], None] = _make) -> None:
    """Create the folder ``path`` by ``make``, and check that it is writable. ``name``: its name in messages.

    Raises:
        WrongSetting: it is a file, or not writable.
    """
    try:
        make(path)
        with tempfile.TemporaryFile(dir=path):
            return
    except FileExistsError as error:
        raise WrongSetting(f"{name} is {path}: it is a file; {RIGHT_FOLDER}") from error
    except OSError as error:
        raise WrongSetting(f"{name} is {path}: {error.strerror}; {RIGHT_FOLDER}") from error


def check_device(device: str) -> None:
    """Check that the machine has the device.

    Raises:
        WrongSetting: torch knows or finds no such device.
    """
    if device in ("auto", "cpu"):
        return
    import torch

    right = "it must be auto, cpu, or cuda:N of a GPU that torch finds"
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise WrongSetting(f"FACTRFM_DEVICE is {device!r}: torch knows no such device; {right}") from error
    count = torch.cuda.device_count()
    if parsed.type == "cuda" and (parsed.index or 0) >= count:
        raise WrongSetting(f"FACTRFM_DEVICE is {device!r}: torch finds {count} GPUs here; {right}")


def reach_database(settings: SharedSettings, *, migrate: bool) -> None:
    """Check the database; with ``migrate`` bring it to the newest revision.

    Raises:
        WrongSetting, CannotStart: see ``open_database``.
    """
    with open_database(settings, migrate=migrate):
        return


@contextmanager
def open_database(settings: SharedSettings, *, migrate: bool) -> Iterator["Database"]:
    """Open the database for a command; with ``migrate`` bring it to the newest revision.

    Raises:
        WrongSetting: its address is invalid.
        CannotStart: it does not answer, or an operation fails.
    """
    from alembic.util import CommandError
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

    from worker.store.database import Database

    address = settings.database_address
    if "://" not in address:
        raise WrongSetting(f"FACTRFM_DATABASE_URL is not an address; {RIGHT_DATABASE}")
    wrong = f"FACTRFM_DATABASE_URL is {shown_address(address)}"
    try:
        make_url(address)
    except (ArgumentError, ValueError) as error:
        raise WrongSetting(f"{wrong}; {RIGHT_DATABASE}") from error
    try:
        database = Database(address)
    except (ArgumentError, ValueError, ImportError, OSError) as error:
        raise WrongSetting(f"{wrong}: {_first_line(error)}; {RIGHT_DATABASE}") from error
    try:
        if migrate:
            database.migrate()
        else:
            database.check()
        yield database
    except (SQLAlchemyError, CommandError) as error:
        reason = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise CannotStart(f"the database {shown_address(address)} cannot be used: {_first_line(reason)}") from error
    finally:
        database.dispose()


def reach_queue(settings: SharedSettings) -> None:
    """Check the connection to Redis.

    Raises:
        CannotStart: it does not answer.
    """
    from kombu.exceptions import OperationalError
    from redis import RedisError

    from worker.environment.job_queue import JobQueue

    address = settings.redis_address
    queue = JobQueue(address, settings.queue)
    try:
        queue.check()
    except (OperationalError, RedisError, OSError) as error:
        raise CannotStart(
            f"FACTRFM_REDIS_URL is {shown_address(address)}: Redis cannot be reached there: {_first_line(error)}"
        ) from error
    finally:
        queue.close()


def reach_storage(settings: SharedSettings) -> None:
    """Write, read and delete a file in the storage of artifacts.

    Raises:
        CannotStart: one of these operations fails.
    """
    from worker.store.files.artifacts import Artifacts

    try:
        Artifacts(settings.storage_address).check()
    except Exception as error:  # the types of errors depend on the storage
        raise CannotStart(
            f"the storage {shown_address(settings.storage_address)} cannot be used: {type(error).__name__}"
        ) from error


def _no_such_host(host: str, name: str) -> WrongSetting:
    return WrongSetting(f"{name} is {host!r}: it must be an address of this machine, such as 127.0.0.1")


def _check_redis_address(address: str) -> None:
    if "://" not in address:
        raise WrongSetting(f"FACTRFM_REDIS_URL is not an address; {RIGHT_REDIS}")
    wrong = WrongSetting(f"FACTRFM_REDIS_URL is {shown_address(address)}; {RIGHT_REDIS}")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    number = parts.path.strip("/")
    if parts.scheme not in ("redis", "rediss", "redis+socket") or port == 0:
        raise wrong
    if parts.scheme == "redis+socket" and not number:
        raise wrong
    if parts.scheme != "redis+socket" and number and not number.isdecimal():
        raise wrong


def _check_storage_address(address: str) -> None:
    from fsspec.core import url_to_fs

    if "://" not in address:
        check_folder("FACTRFM_STORAGE_URL", Path(address).absolute())
        return
    try:
        url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise WrongSetting(
            f"FACTRFM_STORAGE_URL is {shown_address(address)}: {_first_line(error)}; {RIGHT_STORAGE}"
        ) from error


def shown_address(address: str) -> str:
    """Return an address without secrets. A port that is not a number may be a part of a password."""
    scheme, mark, rest = address.partition("://")
    user, at, place = rest.rpartition("@")
    host, slash, path = place.partition("?")[0].partition("/")
    name, colon, port = host.rpartition(":")
    if colon and not host.endswith("]") and not port.isdecimal():
        host = f"{name}:***"
    return f"{scheme}{mark}{'***' if user else ''}{at}{host}{slash}{path}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).strip()
