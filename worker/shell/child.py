"""The training process: spawned in its own process group and reused between jobs.

It reads orders from standard input and writes reports to standard output, one JSON document per line. The first line is
the address of storage, which may hold a password: all users of a machine can see command-line arguments.
"""

import json
import os
import queue
import shutil
import signal
import tempfile
import threading
from dataclasses import dataclass

import psutil
import structlog
from pydantic import ValidationError

from worker.contracts.messages import REPORTS, AnyOrder, AnyReport, Failed
from worker.contracts.resources import JobError
from worker.environment.json_lines import JsonLinesProcess
from worker.environment.secret_files import SUFFIX, secret_variables
from worker.settings import WorkerSettings

log = structlog.get_logger()

HIDDEN = (
    *(name for variable in secret_variables(WorkerSettings).values() for name in (variable, variable + SUFFIX)),
    "FACTRFM_API_KEYS",
    "FACTRFM_API_KEY",
    "FACTRFM_STORAGE_URL",
    "POSTGRES_PASSWORD",
    "PGPASSWORD",
)
"""The child needs no database and no queue, so it gets no credentials for them; its input names the storage."""


FOLDER_SECONDS = 10.0
"""The end of a process is awaited so long until its temporary files are deleted."""


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
        # a process that is killed deletes nothing, and the rows of a large table take much of a disk
        self._folder = tempfile.mkdtemp(prefix="factrfm-runs-")
        environment["TMPDIR"] = self._folder
        self._process = JsonLinesProcess("worker.runs", options, environment)
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="child-reports", daemon=True)
        self._reader.start()
        self._process.send(json.dumps(settings.storage_address))

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.alive()

    def order(self, order: AnyOrder) -> None:
        """Send a job. If the child is dead, its next answer is ``Died``."""
        self._process.send(order.model_dump_json())

    def receive(self, timeout: float) -> Answer | None:
        """Return the next answer, or None after ``timeout`` seconds."""
        try:
            return self._answers.get(timeout=timeout)
        except queue.Empty:
            return None

    def resident_bytes(self) -> int:
        """Return the resident memory of the process, 0 if it has ended."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def end(self, patience: float) -> None:
        """End the process group: SIGTERM, then SIGKILL after ``patience`` seconds."""
        self._process.end(patience)
        self._reader.join(FOLDER_SECONDS)

    def _read(self) -> None:
        while (line := self._process.receive()) is not None:
            self._answers.put(_report(line))
        reason = f"the training process ended with {_ending(self._process.wait())}"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._answers.put(Died(reason))


def _report(line: bytes) -> AnyReport:
    """Return the report of a line. An invalid report fails the job: a retry would repeat it."""
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
