"""Tables are read in processes of their own: what breaks a reader breaks nothing else."""

import io
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import numpy as np
import psutil
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message
from support.processes import wait_until

from service.runtime import reader_pool
from service.runtime.reader_pool import TableReaders
from service.settings import ServiceSettings
from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.contracts.reading import ReadDone, ReadOrder
from worker.settings import GIB
from worker.tables import media

MEMORY = 2**28


@pytest.fixture
def readers() -> Iterator[TableReaders]:
    readers = TableReaders(1, MEMORY, 60)
    yield readers
    readers.close()
    assert _processes() == []


def _order(folder: Path, body: bytes, media_type: str = media.CSV) -> ReadOrder:
    source = folder / "body"
    source.write_bytes(body)
    return ReadOrder(
        source=source, media_type=media_type, destination=folder / "table.parquet", max_cells=10**9, max_bytes=2**31
    )


def _endless(folder: Path) -> ReadOrder:
    """A table whose bytes never come."""
    order = _order(folder, b"").model_copy(update={"source": folder / "pipe"})
    os.mkfifo(order.source)
    return order


def _processes() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "worker.tables.reader_process" in one.cmdline()]


def test_a_table_is_read_as_it_would_be_here_and_the_process_waits_for_the_next(
    readers: TableReaders, tmp_path: Path
) -> None:
    order = _order(tmp_path, b"a,b\n1,x\n2,\n2,y\n")
    done = readers.read(order)
    assert done == TableReaders(0, MEMORY, 60).read(order)
    assert [(column.name, column.missing, column.distinct) for column in done.columns] == [("a", 0, 2), ("b", 1, 2)]
    [first] = _processes()
    readers.read(order)
    assert _processes() == [first]


def test_what_is_wrong_with_a_table_is_told(readers: TableReaders, tmp_path: Path) -> None:
    with pytest.raises(UnreadableTable, match="row 2 has 1 values"):
        readers.read(_order(tmp_path, b"a,b\n1\n"))
    with pytest.raises(TableTooLarge, match="more than 3 cells"):
        readers.read(_order(tmp_path, b"a,b\n1,2\n3,4\n").model_copy(update={"max_cells": 3}))


def test_a_table_that_kills_its_reader_is_refused_and_the_next_is_read(readers: TableReaders, tmp_path: Path) -> None:
    refused: list[UnreadableTable] = []

    def read() -> None:
        with pytest.raises(UnreadableTable, match="ended with code -11") as error:
            readers.read(_endless(tmp_path))
        refused.append(error.value)

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: _processes() != [], 10, "a reader starts")
    _processes()[0].send_signal(signal.SIGSEGV)
    thread.join(30)
    assert refused
    assert readers.read(_order(tmp_path, b"a\n1\n")).rows == 1


def test_a_table_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    readers = TableReaders(1, MEMORY, 0.2)
    with pytest.raises(TableTooLarge, match=r"within 0\.2 seconds"):
        readers.read(_endless(tmp_path))
    assert _processes() == []


@pytest.mark.parametrize(("size", "seconds"), [(1, 60), (GIB, 60), (5 * GIB // 2, 150)])
def test_a_large_file_may_take_longer_by_its_size(
    readers: TableReaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, seconds: float
) -> None:
    asked: list[float] = []
    ask = reader_pool._Reader.ask
    monkeypatch.setattr(reader_pool._Reader, "ask", lambda *one: asked.append(one[2]) or ask(*one))
    order = _order(tmp_path, b"\0")
    # without blocks on the disk
    os.truncate(order.source, size)
    with pytest.raises(UnreadableTable, match="NUL"):
        readers.read(order)
    assert asked == [seconds]


def test_a_table_that_takes_too_much_memory_is_refused(readers: TableReaders, tmp_path: Path) -> None:
    body = io.BytesIO()
    pa = pytest.importorskip("pyarrow")
    with pa.ipc.new_file(
        body, pa.schema([("a", pa.float64())]), options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_batch(pa.record_batch({"a": np.zeros(2**26)}))
    assert len(body.getvalue()) < 2**20
    with pytest.raises((TableTooLarge, UnreadableTable)) as error:
        readers.read(_order(tmp_path, body.getvalue(), media.ARROW_FILE))
    assert "536870912" in error.value.detail or "GiB" in error.value.detail
    assert isinstance(readers.read(_order(tmp_path, b"a\n1\n")), ReadDone)


def test_the_widest_table_is_read_in_half_of_the_usual_memory(tmp_path: Path) -> None:
    readers = TableReaders(1, ServiceSettings().table_reader_bytes // 2, 120)
    names = ",".join(f"c{index}" for index in range(MAX_COLUMNS))
    cells = ",".join("1.5" for _ in range(MAX_COLUMNS))
    assert len(readers.read(_order(tmp_path, f"{names}\n{cells}\n".encode())).columns) == MAX_COLUMNS
    readers.close()


def test_a_reader_gets_no_password(readers: TableReaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTRFM_DATABASE_URL", "postgresql://user:secret@nowhere/db")
    readers.read(_order(tmp_path, b"a\n1\n"))
    [process] = _processes()
    assert b"secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()


class _Line:
    """The rest of a request whose body was read: its caller stays until he ``leaves``."""

    def __init__(self) -> None:
        self.leaves = anyio.Event()

    def request(self) -> Request:
        async def receive() -> Message:
            await self.leaves.wait()
            return {"type": "http.disconnect"}

        return Request({"type": "http"}, receive)


def test_a_reader_whose_caller_left_is_ended_and_the_next_table_is_read(readers: TableReaders, tmp_path: Path) -> None:
    async def scenario() -> int:
        line = _Line()

        async def leave() -> None:
            with anyio.fail_after(20):
                while not _processes():
                    await anyio.sleep(0.02)
            line.leaves.set()

        async with anyio.create_task_group() as group:
            group.start_soon(leave)
            with pytest.raises(ClientDisconnect):
                await readers.run(lambda: readers.read(_endless(tmp_path)), line.request(), "a")
        assert _processes() == []
        order = _order(tmp_path, b"a\n1\n")
        return (await readers.run(lambda: readers.read(order), _Line().request(), "a")).rows

    assert anyio.run(scenario) == 1


def test_a_table_that_nobody_waits_for_is_read_to_its_end_or_until_the_pool_is_closed(tmp_path: Path) -> None:
    readers = TableReaders(1, MEMORY, 60)

    async def scenario() -> int:
        order = _order(tmp_path, b"a\n1\n")
        rows = (await readers.run_detached(lambda: readers.read(order), "a")).rows

        async def close() -> None:
            with anyio.fail_after(20):
                while not (tmp_path / "pipe").exists():
                    await anyio.sleep(0.02)
            await anyio.to_thread.run_sync(readers.close)

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            with pytest.raises(ClientDisconnect), anyio.fail_after(30):
                await readers.run_detached(lambda: readers.read(_endless(tmp_path)), "a")
        return rows

    assert anyio.run(scenario) == 1
    assert _processes() == []


def test_whoever_leaves_the_line_is_waited_for_no_longer(tmp_path: Path) -> None:
    readers = TableReaders(1, MEMORY, 60)
    release = threading.Event()

    async def scenario() -> None:
        line = _Line()
        async with anyio.create_task_group() as group:
            group.start_soon(readers.run, release.wait, _Line().request(), "a")
            await anyio.wait_all_tasks_blocked()
            line.leaves.set()
            with pytest.raises(ClientDisconnect), anyio.fail_after(20):
                await readers.run(lambda: pytest.fail("it is not his turn"), line.request(), "a")
            release.set()

    anyio.run(scenario)


def test_a_project_that_reads_much_leaves_a_reader_to_others() -> None:
    readers = TableReaders(2, MEMORY, 60)
    release = threading.Event()

    async def scenario() -> str:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(readers.run, release.wait, _Line().request(), "much")
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(20):
                found = await readers.run(lambda: "read", _Line().request(), "little")
            release.set()
            return found

    assert anyio.run(scenario) == "read"
