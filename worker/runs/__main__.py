"""The training process: reads orders from standard input, one per line, and writes reports to standard output.

The first line of its input is the address of storage. The process ends when its input ends or its parent dies, so that
no training outlives the supervisor that holds its lease.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

import structlog
import torch
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing
from worker.contracts.events import LogData
from worker.contracts.messages import (
    ORDERS,
    AnyOrder,
    AnyReport,
    BlockOrder,
    BlocksOrder,
    CandidateOrder,
    Failed,
    FitOrder,
    FoldOrder,
    Interrupted,
    LeafOrder,
    LogReport,
    MachineOrder,
    PredictOrder,
    RowsOrder,
    TrialOrder,
    TuneOrder,
)
from worker.runs.blocks.job import fit_by_blocks, fit_within_memory
from worker.runs.blocks.parts import block, block_machine, leaf
from worker.runs.failures import last_report
from worker.runs.network import network
from worker.runs.pace import Pace
from worker.runs.parts.candidate import candidate
from worker.runs.parts.fold import fold
from worker.runs.parts.rows import rows
from worker.runs.parts.trial import trial
from worker.runs.predict import predict
from worker.runs.storage import RunStorage
from worker.runs.tune import tune
from worker.store.files.artifacts import Artifacts
from worker.store.files.disk_full import needing_room
from worker.telemetry.logs import attempt_context, configure_logging
from worker.telemetry.tracing import Tracing
from worker.training.machine import Machine

log = structlog.get_logger()

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run jobs until the input ends."""
    options = _options(arguments)
    _die_with_parent(options.parent)
    reports = _redirect_stdout()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    configure_logging(options.log_level, options.log_format)
    tracing = Tracing.start("factrfm-training", options.traces)
    machine = Machine.find(options.device, options.memory_bytes)
    if not (address := sys.stdin.readline()):
        return 0
    artifacts = RunStorage(json.loads(address))
    for line in sys.stdin:
        report = Reporter(reports)
        try:
            order = ORDERS.validate_json(line)
        except ValidationError as error:
            report(last_report(error))
            continue
        names = attempt_context(order.job, order.attempt, order.origin)
        with bound_contextvars(**names):
            with tracing.span(f"run {order.kind}", order.origin.traceparent, names):
                last = _logged_run(order, artifacts, machine, report)
            report(last)
    tracing.close()
    return 0


class Reporter:
    """Writes reports, one JSON document per line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, report: AnyReport) -> None:
        with self._lock:
            self._stream.write(report.model_dump_json() + "\n")
            self._stream.flush()


def _logged_run(order: AnyOrder, artifacts: Artifacts, machine: Machine, report: Reporter) -> AnyReport:
    """Return the last report of a job, and log its start and end."""
    log.info("run begins", kind=order.kind, device=str(machine.device))
    started = time.monotonic()
    last = _run(order, artifacts, machine, report)
    failed = last.error.type if isinstance(last, Failed | Interrupted) else None
    log.info("run ends", seconds=round(time.monotonic() - started, 3), error=failed)
    return last


def _run(order: AnyOrder, artifacts: Artifacts, machine: Machine, report: Reporter) -> AnyReport:
    """Return the last report of a job: done, or the error."""
    try:
        with needing_room("what the run makes"), Pace(report, order.expected_seconds) as pace:
            return carry_out(order, artifacts, machine, pace)
    except Exception as error:
        return last_report(error)


def carry_out(
    order: AnyOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> AnyReport:
    """Return the last report of a job; it starts afresh if its checkpoint is missing or damaged.

    Raises:
        FactRFMError, EngineError: the job cannot succeed.
    """
    if isinstance(order, PredictOrder):
        return predict(order, artifacts, machine, report)
    if isinstance(order, CandidateOrder):
        return candidate(order, artifacts, machine)
    if isinstance(order, TrialOrder):
        return trial(order, artifacts, machine, report)
    if isinstance(order, FoldOrder):
        return fold(order, artifacts, machine, report)
    if isinstance(order, RowsOrder):
        return rows(order, artifacts, machine, report)
    if isinstance(order, BlockOrder):
        return block(order, artifacts, machine)
    if isinstance(order, MachineOrder):
        return block_machine(order, artifacts, machine)
    if isinstance(order, LeafOrder):
        return leaf(order, artifacts, machine)
    try:
        if isinstance(order, BlocksOrder):
            return fit_by_blocks(order, artifacts, machine, report)
        if isinstance(order, FitOrder):
            return fit_within_memory(order, artifacts, machine, report)
        if isinstance(order, TuneOrder):
            return tune(order, artifacts, machine, report)
        return network(order, artifacts, machine, report)
    except (ArtifactMissing, ArtifactCorrupt) as error:
        if order.checkpoint is None:
            raise
        # a backup of a live system may hold a row whose checkpoint was replaced before the files were copied
        message = f"starting afresh, because the checkpoint cannot be read: {error.detail}"
        report(LogReport(data=LogData(level="warning", message=message)))
        return carry_out(order.model_copy(update={"checkpoint": None}), artifacts, machine, report)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker.runs", description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--memory-bytes", type=int)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="json")
    parser.add_argument("--traces", action="store_true")
    return parser.parse_args(arguments)


def _redirect_stdout() -> IO[str]:
    """Return the stream to the supervisor, and redirect the output of libraries to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream


def _die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies (Linux); elsewhere the end of input ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the supervisor died before its training process started")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
