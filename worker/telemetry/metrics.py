"""Prometheus metrics that only a worker knows, served if a port is set.

The API counts the states of jobs from their rows: see docs/decisions/0009-seeing.md.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)
QUERY = ("--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits")
MIB = 2**20
ASK_SECONDS = 5

ATTEMPTS = Counter("factrfm_attempts", "Attempts of jobs that ended on this worker", ["kind", "outcome"])
ATTEMPT_SECONDS = Histogram("factrfm_attempt_seconds", "Time from claim to outcome", ["kind"], buckets=SECONDS)
LEASE_LOSSES = Counter("factrfm_lease_losses", "Attempts that lost their job to another, or may have")
FENCED_WRITES = Counter("factrfm_fenced_writes", "Writes that changed nothing because the job had another owner")
BUSY = Gauge("factrfm_worker_busy", "1 while the worker has a job")
CHILD_BYTES = Gauge("factrfm_training_process_resident_bytes", "Memory of the training process, 0 without one")


class GpuMemory(Collector):
    """Memory of every GPU, in bytes, by ``program``: only the child process uses the GPU, not the supervisor."""

    def __init__(self, program: str) -> None:
        self._program = program

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Run the program and yield its figures; nothing if it fails."""
        used = GaugeMetricFamily("factrfm_gpu_memory_used_bytes", "Memory in use on a GPU", labels=["gpu"])
        total = GaugeMetricFamily("factrfm_gpu_memory_total_bytes", "Memory of a GPU", labels=["gpu"])
        try:
            completed = subprocess.run(  # noqa: S603 - a program that shutil.which found
                [self._program, *QUERY], capture_output=True, text=True, timeout=ASK_SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return
        for line in completed.stdout.splitlines():
            gpu, *amounts = (part.strip() for part in line.split(","))
            for family, amount in zip((used, total), amounts, strict=True):
                if amount.isdecimal():
                    family.add_metric([gpu], float(amount) * MIB)
        yield used
        yield total


@contextmanager
def serve_metrics(host: str, port: int | None) -> Iterator[None]:
    """Serve this process's metrics while the block runs; ``port`` None: do not serve them.

    Raises:
        OSError: the address is not available.
    """
    if port is None:
        yield
        return
    program = shutil.which("nvidia-smi")
    gpus = None if program is None else GpuMemory(program)
    if gpus is not None:
        REGISTRY.register(gpus)
    server, thread = start_http_server(port, host)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        if gpus is not None:
            REGISTRY.unregister(gpus)
