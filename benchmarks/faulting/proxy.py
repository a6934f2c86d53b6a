"""A relay between two Unix sockets that can cut the connections, or go silent on them."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

BLOCK = 2**16


class Proxy:
    """Relays ``listen`` to ``upstream``. Started by the constructor, ended by ``close``.

    ``cut`` breaks every connection and refuses new ones. ``stall`` leaves all connections open and passes nothing on.
    ``strand`` goes silent for ever on the connections that there are; new ones work.
    """

    def __init__(self, listen: Path, upstream: Path) -> None:
        self._listen = listen
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._gates: set[asyncio.Event] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{listen.name}", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_unix_server(self._serve, str(listen)))
        self.mend()

    def cut(self) -> None:
        self._do(self._cut())

    def stall(self) -> None:
        self._call(self._flows.clear)

    def strand(self) -> None:
        """Leave the connections of now open and silent until they are closed from outside."""
        self._do(self._strand())

    def mend(self) -> None:
        self._refuses = False
        self._call(self._flows.set)

    def connections(self) -> int:
        return len(self._writers) // 2

    def close(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.close()
            return
        try:
            other_reader, other_writer = await asyncio.open_unix_connection(str(self._upstream))
        except OSError:
            writer.close()
            return
        pair = {writer, other_writer}
        gate = asyncio.Event()
        gate.set()
        self._writers |= pair
        self._gates.add(gate)
        flows = [self._flow(reader, other_writer, gate), self._flow(other_reader, writer, gate)]
        tasks = [asyncio.ensure_future(flow) for flow in flows]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for one in pair:
                one.close()
            self._writers -= pair
            self._gates.discard(gate)

    async def _flow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        try:
            while block := await reader.read(BLOCK):
                await self._flows.wait()
                await gate.wait()
                writer.write(block)
                await writer.drain()
        except OSError:
            return

    async def _cut(self) -> None:
        self._refuses = True
        for writer in list(self._writers):
            writer.transport.abort()

    async def _strand(self) -> None:
        for gate in self._gates:
            gate.clear()

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, step: Any) -> None:
        self._loop.call_soon_threadsafe(step)

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)
