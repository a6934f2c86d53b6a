"""A child process that exchanges one JSON document per line over standard input and output."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from worker.environment.cgroup import thread_environment


class JsonLinesProcess:
    """One module of this program in its own process group, from the constructor to ``end``.

    ``environment`` is its whole environment, plus the number of threads that the CPU limit allows.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # -P: otherwise a folder ``worker`` in the current directory would shadow this package
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, **thread_environment(environment)},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.poll() is None

    def send(self, document: str) -> None:
        """Write a document. If the process is dead, ``receive`` returns None."""
        assert self._process.stdin is not None  # noqa: S101 - Popen was given a pipe
        with suppress(BrokenPipeError):
            self._process.stdin.write(document.encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> bytes | None:
        """Wait for the next document; None if the process ended, perhaps in the middle of one."""
        assert self._process.stdout is not None  # noqa: S101 - Popen was given a pipe
        try:
            line = self._process.stdout.readline()
        except ValueError:  # closed by ``end``
            return None
        return line if line.endswith(b"\n") else None

    def wait(self) -> int:
        """Wait for the process to end. Return its exit code; negative is the signal that ended it."""
        return self._process.wait()

    def kill(self) -> None:
        """Kill the process group."""
        self._signal(signal.SIGKILL)

    def end(self, patience: float = 0.0) -> None:
        """End the process group: SIGTERM, then SIGKILL after ``patience`` seconds."""
        if patience > 0:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=patience)
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # closing flushes what the dead process did not read
                with suppress(BrokenPipeError):
                    stream.close()

    def _signal(self, number: signal.Signals) -> None:
        # after its end the process id may be reused
        if self.alive():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
