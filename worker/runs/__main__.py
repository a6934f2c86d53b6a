"""The training process: takes orders from standard input, one a line, and reports on standard output.

It ends when its input ends or its parent dies, so that no training outlives the supervisor that holds its lease.
"""

import argparse
import ctypes
import os
import signal
import sys
import threading
from typing import IO

import torch

from worker.contracts.errors import FactRFMError, StorageFull
from worker.contracts.messages import (
    ORDERS,
    AnyOrder,
    AnyReport,
    Failed,
    FitOrder,
    Interrupted,
    NetworkOrder,
    TuneOrder,
)
from worker.contracts.resources import JobError
from worker.engine.errors import EngineError
from worker.runs.fit import fit
from worker.runs.machine import Machine
from worker.runs.network import network
from worker.runs.predict import predict
from worker.runs.tune import tune
from worker.store.artifacts import Artifacts
from worker.store.room import needing_room

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run jobs until the input ends."""
    options = _options(arguments)
    _die_with(options.parent)
    reports = _own_output()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    machine = Machine.find(options.device, options.memory_bytes)
    artifacts = Artifacts(options.storage)
    for line in sys.stdin:
        report = Reporter(reports)
        report(_run(ORDERS.validate_json(line), artifacts, machine, report))
    return 0


class Reporter:
    """Writes reports, one JSON document a line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, report: AnyReport) -> None:
        with self._lock:
            self._stream.write(report.model_dump_json() + "\n")
            self._stream.flush()


def _run(order: AnyOrder, artifacts: Artifacts, machine: Machine, report: Reporter) -> AnyReport:
    """Return the last report of a job: done, or why it cannot succeed. An error of our own making ends the process."""
    try:
        with needing_room("what the run makes"):
            if isinstance(order, FitOrder):
                return fit(order, artifacts, machine, report)
            if isinstance(order, TuneOrder):
                return tune(order, artifacts, machine, report)
            if isinstance(order, NetworkOrder):
                return network(order, artifacts, machine, report)
            return predict(order, artifacts, machine, report)
    except StorageFull as error:
        return Interrupted(error=JobError(type=error.code, detail=error.detail))
    except FactRFMError as error:
        return Failed(error=JobError(type=error.code, detail=error.detail))
    except EngineError as error:
        return Failed(error=JobError(type="numerical_failure", detail=str(error)))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Failed(error=JobError(type="out_of_memory", detail=f"memory ran out during the run: {error}"))
    except RuntimeError as error:
        # torch has no type of its own for a failed allocation on the CPU
        if "can't allocate memory" not in str(error):
            raise
        return Failed(error=JobError(type="out_of_memory", detail=f"memory ran out during the run: {error}"))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker.runs", description=__doc__)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--memory-bytes", type=int)
    return parser.parse_args(arguments)


def _own_output() -> IO[str]:
    """Return a stream to the supervisor, and send what any library prints to the log instead."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies (Linux); elsewhere the end of input does."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the supervisor died before its training process started")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
