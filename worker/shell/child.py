"""The process that computes: spawned, in a process group of its own, kept warm between jobs.

Orders go in by its standard input and reports come out of its standard output, one JSON document a line. The first line
is the address of storage, which may hold a password: arguments can be seen by all users of a machine.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass

import psutil
import structlog
from pydantic import ValidationError

from worker.contracts.messages import REPORTS, AnyOrder, AnyReport, Failed
from worker.contracts.resources import JobError
from worker.environment.cgroup import thread_environment
from worker.environment.secret_files import SUFFIX, secret_variables
from worker.settings import WorkerSettings

log = structlog.get_logger()

HIDDEN = (
    *(name for one in secret_variables(WorkerSettings).values() for name in (one, one + SUFFIX)),
    "FACTRFM_API_KEYS",
    "FACTRFM_API_KEY",
    "FACTRFM_STORAGE_URL",
    "POSTGRES_PASSWORD",
    "PGPASSWORD",
)
"""The child needs no database and no queue, so it gets no password of theirs. Its storage is told by its input."""


@dataclass(frozen=True)
class Died:
    """The process ended by itself in the middle of a job."""

    reason: str


Answer = AnyReport | Died


class Child:
    """One training process. It is started by its constructor and ended by ``end``."""

    def __init__(self, settings: WorkerSettings) -> None:
        options = [
            f"--device={settings.device}",
            f"--parent={os.getpid()}",
            f"--log-level={settings.log_level}",
            f"--log-format={settings.log_format}",
        ]
        options += [f"--threads={settings.threads}"] if settings.threads is not None else []
        options += [f"--memory-bytes={settings.memory_bytes}"] if settings.memory_bytes is not None else []
        options += ["--traces"] if settings.otlp_endpoint else []
        environment = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        environment |= thread_environment(environment)
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # -P: without it a folder ``worker`` where the user stands is imported instead of ours
            [sys.executable, "-P", "-m", "worker.runs", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,
        )
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="child-reports", daemon=True)
        self._reader.start()
        self._tell(json.dumps(settings.storage_address))

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group too."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def order(self, order: AnyOrder) -> None:
        """Hand over a job. A child that is dead already says so by its next answer."""
        self._tell(order.model_dump_json())

    def receive(self, timeout: float) -> Answer | None:
        """Return the next answer, or None when there is none within ``timeout`` seconds."""
        try:
            return self._answers.get(timeout=timeout)
        except queue.Empty:
            return None

    def resident_bytes(self) -> int:
        """Return the memory that the process holds, 0 when it has ended."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def end(self, patience: float) -> None:
        """End the process and everything that it started: SIGTERM, then SIGKILL after ``patience`` seconds."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - Popen was given a pipe
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - Popen was given a pipe
        try:
            for line in self._process.stdout:
                if line.endswith("\n"):  # else the process died in the middle of it
                    self._answers.put(_report(line))
        except ValueError:  # the stream was closed, or ends in the middle of a character
            pass
        self._answers.put(Died(f"the training process ended with {_ending(self._process.wait())}"))


def _report(line: str) -> AnyReport:
    """Return the report of a whole line. One that no contract allows would be made again: it ends the job."""
    try:
        return REPORTS.validate_json(line)
    except ValidationError as error:
        log.exception("the training process reported what cannot be read")
        return Failed(error=JobError.internal(error))


def _ending(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else "unknown"
        hint = "; often the system ran out of memory" if -code == signal.SIGKILL else ""
        return f"signal {-code} ({name}){hint}"
    return f"exit code {code}"
