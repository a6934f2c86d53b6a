"""A PostgreSQL server of our own, on a Unix socket in a temporary folder, with cheap fresh databases."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

MEMORY = Path("/dev/shm")
ROOM_BYTES = 2**31
INSTALLED = Path("/usr/lib/postgresql")
SPEED = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=200", "listen_addresses=")


def find_binaries() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl``, the newest version's; None where there is no PostgreSQL."""
    versions = sorted(INSTALLED.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


def _fast_folder() -> Path | None:
    """Return a folder in memory where there is room, else None: copying a database takes a tenth of the time there."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        return MEMORY
    return None


class PostgresServer:
    """Started by the constructor, ended by ``stop``. Runs as the user ``postgres`` when we are root."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._numbers = itertools.count(1)
        self._folder = Path(tempfile.mkdtemp(prefix="factrfm-pg-", dir=_fast_folder()))
        self._data = self._folder / "data"
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--locale=C")
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = " ".join([f"-k {self._folder}", *(f"-c {setting}" for setting in SPEED)])
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", str(self._folder / "log"))

    def halt(self) -> None:
        """Stop the server in the way a crash would: connections break."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    def stop(self) -> None:
        """Stop the server by the process id in its own folder, and delete the folder."""
        self._run("pg_ctl", "stop", "-w", "-m", "fast")
        shutil.rmtree(self._folder)

    def url(self, name: str) -> str:
        """Return the SQLAlchemy address of a database."""
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def create(self, template: str | None = None) -> str:
        """Create a database, a copy of ``template`` when given. Returns its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""))
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement outside of any test's database."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), f"--pgdata={self._data}", *arguments]
        # A file and not a pipe: the server inherits it, and a pipe would stay open for as long as it runs.
        with (self._folder / "output").open("ab") as output:
            done = subprocess.run(
                command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
                **self._as,
            )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {(self._folder / 'output').read_text()}")
