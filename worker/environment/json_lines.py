"""A process of ours that is talked to by one JSON document a line: to its standard input, from its standard output."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from worker.environment.cgroup import thread_environment


class JsonLinesProcess:
    """One module of this program in a process group of its own. It is started by the constructor, ended by ``end``.

    ``environment`` is all that it gets of one, beside the number of threads that the CPU limit leaves.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # -P: without it a folder ``worker`` where the user stands is imported instead of ours
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, **thread_environment(environment)},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group too."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def send(self, document: str) -> None:
        """Write a document. A process that is dead says so by the end of its output."""
        assert self._process.stdin is not None  # noqa: S101 - Popen was given a pipe
        with suppress(BrokenPipeError):
            self._process.stdin.write(document.encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> bytes | None:
        """Wait for the next document; None where the process ended, perhaps in the middle of one."""
        assert self._process.stdout is not None  # noqa: S101 - Popen was given a pipe
        try:
            line = self._process.stdout.readline()
        except ValueError:  # closed by ``end``
            return None
        return line if line.endswith(b"\n") else None

    def wait(self) -> int:
        """Return the exit code when the process has ended, minus the number of the signal that ended it."""
        return self._process.wait()

    def kill(self) -> None:
        """Kill the process and all that it started."""
        self._signal(signal.SIGKILL)

    def end(self, patience: float = 0.0) -> None:
        """End the process and all that it started: by SIGTERM, and after ``patience`` seconds by SIGKILL."""
        if patience > 0:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=patience)
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # what the process did not live to take is sent again at this, and there is nobody
                with suppress(BrokenPipeError):
                    stream.close()

    def _signal(self, number: signal.Signals) -> None:
        # when it has ended its number may be another's
        if self.alive():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
