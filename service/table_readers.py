"""Uploaded tables are read in processes of their own.

A file from a stranger may be made to break its parser or to fill the memory. It then ends a process that holds nothing
else. And reading a large table takes neither memory nor the interpreter from the requests of this process.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio
import anyio.to_thread
import structlog
from pydantic import TypeAdapter

from worker.cgroup import thread_environment
from worker.contracts.errors import (
    ColumnMismatch,
    FieldError,
    InvalidRequest,
    StorageFull,
    TableTooLarge,
    UnreadableTable,
)
from worker.contracts.reading import AnyOrder, ReadDone, ReadFailed, RowsOrder
from worker.reading import carry_out
from worker.settings import GIB
from worker.tables.media import JSON

log = structlog.get_logger()

T = TypeVar("T")
ANSWERS: TypeAdapter[ReadDone | ReadFailed] = TypeAdapter(ReadDone | ReadFailed)
GIVEN = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
"""What a reader gets of the environment: nothing that holds a password."""
ERRORS = {kind.code: kind for kind in (UnreadableTable, TableTooLarge, StorageFull, InvalidRequest, ColumnMismatch)}


class TableReaders:
    """Reads at most ``processes`` tables at once, each in a process with ``memory_bytes``; 0: one at a time, here.

    ``seconds``: how long a table may take.
    """

    def __init__(self, processes: int, memory_bytes: int, seconds: float) -> None:
        self._processes = processes
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._limiter: anyio.CapacityLimiter | None = None
        self._lock = threading.Lock()
        self._idle: _Reader | None = None
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` does in a thread, as soon as it may read. Waiting takes no thread."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(max(self._processes, 1))
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    @property
    def apart(self) -> bool:
        """Whether tables are read in processes of their own."""
        return self._processes > 0

    def read(self, order: AnyOrder) -> ReadDone:
        """Read one table, in a thread of ``run`` or in one of another pool that is bounded.

        Raises:
            UnreadableTable: it is not what it is said to be, or its parser broke on it.
            TableTooLarge: it is, or it takes too much memory or time to read.
            StorageFull: there is no room for the typed table.
            InvalidRequest, ColumnMismatch: it is rows to predict, and they do not fit the model.
        """
        if not self.apart:
            return carry_out(order)
        reader = self._take()
        try:
            answer = reader.ask(order, self._seconds)
        except BaseException:
            reader.end()
            raise
        self._keep(reader)
        if isinstance(answer, ReadDone):
            return answer
        if answer.code == "out_of_memory":
            raise TableTooLarge(
                f"a block of the table needs more than the {self._memory_bytes / GIB:.2f} GiB that reading may take; "
                "write it with smaller record batches or row groups, or as CSV"
            )
        raise ERRORS[answer.code](answer.detail, errors=tuple(FieldError(*one) for one in answer.errors))

    def close(self) -> None:
        """End the reader that waits, and every other when it is done."""
        with self._lock:
            self._closed = True
            reader, self._idle = self._idle, None
        if reader is not None:
            reader.end()

    def _take(self) -> "_Reader":
        with self._lock:
            reader, self._idle = self._idle, None
        if reader is not None and reader.alive():
            return reader
        return _Reader(self._memory_bytes)

    def _keep(self, reader: "_Reader") -> None:
        """Keep one reader for the next table."""
        with self._lock:
            if self._idle is None and not self._closed:
                self._idle = reader
                return
        reader.end()


class _Reader:
    """One process."""

    def __init__(self, memory_bytes: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # -P: without it a folder ``worker`` where the user stands is imported instead of ours
            [sys.executable, "-P", "-m", "worker.reading", str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: os.environ[name] for name in GIVEN if name in os.environ} | thread_environment(os.environ),
            start_new_session=True,
        )

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, order: AnyOrder, seconds: float) -> ReadDone | ReadFailed:
        """Return the answer.

        Raises:
            UnreadableTable: the process died of the table.
            TableTooLarge: there was no answer within ``seconds``.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - Popen was given pipes
        assert stdout is not None  # noqa: S101
        ends_at = time.monotonic() + seconds
        late = threading.Timer(seconds, self._process.kill)
        late.start()
        try:
            stdin.write(order.model_dump_json().encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            late.cancel()
        if line.endswith(b"\n"):
            return ANSWERS.validate_json(line)
        code = self._process.wait()
        if time.monotonic() >= ends_at:
            raise TableTooLarge(f"the table could not be read within {seconds:g} seconds; send it in parts")
        form = JSON if isinstance(order, RowsOrder) else order.media_type
        log.error("a reader of tables died", media_type=form, code=code)
        raise UnreadableTable(f"the body cannot be read as {form}: its reader ended with code {code}")

    def end(self) -> None:
        """Kill the process: it holds nothing that it would have to put away."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # an order that the process did not live to take is sent again at this, and there is nobody
                with suppress(BrokenPipeError):
                    stream.close()
