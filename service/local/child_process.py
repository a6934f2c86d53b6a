"""A supervised child process in its own session. It ends with its parent."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import CannotStart

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 15.0
SETTLE_SECONDS = 20.0
"""A program that exits so soon after its first start is not started again."""
CALM_SECONDS = 60.0
"""After running this long a program's count of deaths is reset."""
MAX_DEATHS = 5
MAX_PAUSE = 10.0
LAST_LINES = 15


@dataclass
class ChildProcess:
    """A program, its log, and its number of deaths. Times are of a monotonic clock."""

    name: str
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    deaths: int = 0
    started_at: float = 0.0
    start_again_at: float | None = None
    _log_begins: int = field(default=0, repr=False)

    def start(self, environment: Mapping[str, str], now: float) -> None:
        """Start the program in its own session, with output appended to its log.

        Raises:
            CannotStart: the log cannot be written, or there is no such program.
        """
        try:
            with self.log.open("ab") as output:
                self._log_begins = output.tell()
                self.process = subprocess.Popen(  # noqa: S603 - our own programs
                    self.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                )
        except OSError as error:
            raise CannotStart(f"{self.name} cannot be started: {error.filename}: {error.strerror}") from error
        self.starts += 1
        self.started_at = now
        self.start_again_at = None

    def alive(self) -> bool:
        """Return whether the program runs."""
        return self.process is not None and self.process.poll() is None

    def wait(self) -> None:
        """Wait for the end of the program."""
        if self.process is not None:
            self.process.wait()

    def restart_if_dead(self, environment: Mapping[str, str], now: float, say: Callable[[str], None]) -> None:
        """Start the program again when it has died, after a pause that doubles with each death in a row.

        Raises:
            CannotStart: it exited soon after its first start, or died too often in a row.
        """
        if self.process is None or self.alive():
            return
        if self.start_again_at is None:
            pause = self._pause_after_death(self.process.returncode, now - self.started_at)
            self.start_again_at = now + pause
            say(f"{self.name} {_ending(self.process.returncode)} and is started again in {pause:g} s; see {self.log}")
        if now >= self.start_again_at:
            self.start(environment, now)

    def stop(self, patience: float = STOP_SECONDS) -> None:
        """Send SIGTERM, and after ``patience`` seconds SIGKILL to the process group."""
        if self.process is None or not self.alive():
            return
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def last_lines(self) -> str:
        """Return the last lines of output since the last start."""
        with self.log.open("rb") as file:
            file.seek(self._log_begins)
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-LAST_LINES:])

    def _pause_after_death(self, code: int, lived: float) -> float:
        if self.starts == 1 and code > 0 and lived < SETTLE_SECONDS:
            raise CannotStart(f"{self.name} did not come up, it {_ending(code)}; from {self.log}:\n{self.last_lines()}")
        self.deaths = 1 if lived > CALM_SECONDS else self.deaths + 1
        if self.deaths > MAX_DEATHS:
            raise CannotStart(
                f"{self.name} died {self.deaths} times in a row and {_ending(code)} at last; from {self.log}:\n"
                f"{self.last_lines()}"
            )
        return min(0.5 * 2.0 ** (self.deaths - 1), MAX_PAUSE)


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
