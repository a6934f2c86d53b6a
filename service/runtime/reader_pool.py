"""A pool of processes that read uploaded tables.

A malicious file may crash its parser or fill the memory: then only a reader process dies. Reading a large table also
takes neither memory nor the GIL of this process.
"""

import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import anyio
import anyio.to_thread
import structlog
from pydantic import TypeAdapter
from starlette.requests import ClientDisconnect, Request

from worker.contracts.errors import (
    ColumnMismatch,
    FieldError,
    InvalidRequest,
    StorageFull,
    TableTooLarge,
    UnreadableTable,
)
from worker.contracts.reading import AnyOrder, ReadDone, ReadFailed, RowsOrder
from worker.environment.json_lines import JsonLinesProcess
from worker.settings import GIB
from worker.tables.media import JSON
from worker.tables.reader_process import carry_out

log = structlog.get_logger()

T = TypeVar("T")
ANSWERS: TypeAdapter[ReadDone | ReadFailed] = TypeAdapter(ReadDone | ReadFailed)
PASSED_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
"""Variables that a reader inherits; none holds a password."""
ALLOCATOR = {"MIMALLOC_ARENA_EAGER_COMMIT": "0"}
"""By default Arrow's allocator commits half of the limited memory, up to 1 GiB, in advance."""
ERRORS = {kind.code: kind for kind in (UnreadableTable, TableTooLarge, StorageFull, InvalidRequest, ColumnMismatch)}
MAX_PROJECTS = 1000


class _Caller:
    """A client that waits for a table. When it disconnects, its reader process is killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: _Reader | None = None
        self.left = False

    def hold(self, reader: "_Reader | None") -> None:
        """Set the process that reads for this client."""
        with self._lock:
            self._reader = reader
            if self.left and reader is not None:
                reader.kill()

    def leave(self) -> None:
        """Kill the reader, because the client has disconnected."""
        with self._lock:
            self.left = True
            if self._reader is not None:
                self._reader.kill()


_CALLER: ContextVar[_Caller | None] = ContextVar("caller", default=None)


class TableReaders:
    """Reads at most ``processes`` tables at once, each in a process with ``memory_bytes``; 0: in this process.

    ``seconds``: time limit for a table, or for each GiB of a larger file. A project may use all processes but one,
    which is left for other projects.
    """

    def __init__(self, processes: int, memory_bytes: int, seconds: float) -> None:
        self._processes = processes
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._limiter: anyio.CapacityLimiter | None = None
        self._of_project: dict[str | None, anyio.CapacityLimiter] = {}
        self._lock = threading.Lock()
        self._idle: _Reader | None = None
        self._detached: set[_Caller] = set()
        self._closed = False

    async def run_detached(self, work: Callable[[], T], project: str | None) -> T:
        """Like ``run``, whether a client waits or has disconnected. ``close`` kills its reader process.

        Raises:
            ClientDisconnect: the pool was closed.
        """
        caller = _Caller()
        token = _CALLER.set(caller)
        self._detached.add(caller)
        try:
            return await self._in_turn(work, project)
        finally:
            self._detached.discard(caller)
            _CALLER.reset(token)

    async def run(self, work: Callable[[], T], request: Request, project: str | None) -> T:
        """Return the result of ``work``, run in a thread as soon as ``project`` may read. Waiting takes no thread.

        The body of ``request`` must have been read. When its client disconnects, its reader process is killed.

        Raises:
            ClientDisconnect: the client has disconnected.
        """
        caller = _Caller()
        done: list[T] = []
        failed: list[Exception] = []

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                continue
            caller.leave()
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            token = _CALLER.set(caller)
            try:
                done.append(await self._in_turn(work, project))
            except Exception as error:
                failed.append(error)
            finally:
                _CALLER.reset(token)
            group.cancel_scope.cancel()
        if caller.left:
            raise ClientDisconnect
        if failed:
            raise failed[0]
        return done[0]

    async def _in_turn(self, work: Callable[[], T], project: str | None) -> T:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(max(self._processes, 1))
        limiter = self._of_project.get(project)
        if limiter is None:
            if len(self._of_project) >= MAX_PROJECTS:
                self._of_project = {name: other for name, other in self._of_project.items() if other.borrowed_tokens}
            limiter = self._of_project[project] = anyio.CapacityLimiter(max(self._processes - 1, 1))
        # the project's limiter comes first, so that its waiting tables do not block other projects
        async with limiter:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    @property
    def isolated(self) -> bool:
        """Whether tables are read in other processes."""
        return self._processes > 0

    def read(self, order: AnyOrder) -> ReadDone:
        """Read one table, in a thread of ``run`` or of another bounded pool.

        Raises:
            UnreadableTable: it does not match its media type, or crashed its parser.
            TableTooLarge: it is too large, or takes too much memory or time to read.
            StorageFull: the disk is full.
            InvalidRequest, ColumnMismatch: rows to predict do not fit the model.
        """
        if not self.isolated:
            return carry_out(order)
        caller = _CALLER.get()
        reader = self._take()
        try:
            if caller is not None:
                caller.hold(reader)
            # what reading takes grows with the file
            answer = reader.ask(order, self._seconds * max(1.0, order.source.stat().st_size / GIB))
        except BaseException as error:
            reader.end()
            if caller is not None and caller.left:
                raise ClientDisconnect from error
            raise
        finally:
            if caller is not None:
                caller.hold(None)
        self._keep(reader)
        if isinstance(answer, ReadDone):
            return answer
        if answer.code == "out_of_memory":
            raise TableTooLarge(
                f"a block of the table needs more than the {self._memory_bytes / GIB:.2f} GiB that reading may take; "
                "write it with smaller record batches or row groups, or as CSV"
            )
        raise ERRORS[answer.code](answer.detail, errors=tuple(FieldError(*entry) for entry in answer.errors))

    def close(self) -> None:
        """End the idle reader and those of ``run_detached`` now, and other busy ones when they are done."""
        for caller in list(self._detached):
            caller.leave()
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
        """Keep one idle reader for the next table."""
        with self._lock:
            if self._idle is None and not self._closed:
                self._idle = reader
                return
        reader.end()


class _Reader(JsonLinesProcess):
    """One process that reads tables. It may be killed at any time."""

    def __init__(self, memory_bytes: int) -> None:
        environment = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ} | ALLOCATOR
        super().__init__("worker.tables.reader_process", [str(memory_bytes)], environment)

    def ask(self, order: AnyOrder, seconds: float) -> ReadDone | ReadFailed:
        """Send an order and return the answer.

        Raises:
            UnreadableTable: the process died.
            TableTooLarge: there was no answer within ``seconds``.
        """
        ends_at = time.monotonic() + seconds
        late = threading.Timer(seconds, self.kill)
        late.start()
        try:
            self.send(order.model_dump_json())
            line = self.receive()
        finally:
            late.cancel()
        if line is not None:
            return ANSWERS.validate_json(line)
        code = self.wait()
        if time.monotonic() >= ends_at:
            raise TableTooLarge(f"the table could not be read within {seconds:g} seconds; send it in parts")
        form = JSON if isinstance(order, RowsOrder) else order.media_type
        log.error("a reader of tables died", media_type=form, code=code)
        raise UnreadableTable(f"the body cannot be read as {form}: its reader ended with code {code}")
