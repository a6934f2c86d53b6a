"""Programs that are killed, stopped and started again. They end with the process that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1


class Program:
    """A program that may run any number of times, one after another. Started from one thread that outlives it."""

    def __init__(self, name: str, arguments: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self.starts = 0
        self.asleep = False
        self.ending = False
        """It was told to end, or is dead and about to be started again."""
        self._arguments = arguments
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def up(self) -> bool:
        """Whether it runs and nothing is being done to it."""
        return self.alive() and not self.asleep and not self.ending

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=REPOSITORY,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self.starts += 1
        self.asleep = self.ending = False

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: no chance to clean up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def sleep(self) -> None:
        self.signal(signal.SIGSTOP)
        self.asleep = True

    def wake(self) -> None:
        if self.alive():
            self.signal(signal.SIGCONT)
        self.asleep = False

    def stop(self, patience: float = 30.0) -> bool:
        """SIGTERM, then SIGKILL. Returns whether the first was enough."""
        if not self.alive():
            return True
        assert self._process is not None
        self.wake()
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def trainer(self) -> psutil.Process | None:
        """Return the training process of a worker; None where there is none."""
        try:
            for child in psutil.Process(self.pid).children():
                if "worker.runs" in child.cmdline():
                    return child
        except psutil.NoSuchProcess:
            return None
        return None


def left_over(mark: str) -> list[str]:
    """Return what still runs with ``mark`` in its environment, our own process excepted."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(mark in value for value in process.environ().values()):
                found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
