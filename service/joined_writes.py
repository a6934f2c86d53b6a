"""What is written in one step of the event loop is sent in one piece."""

import asyncio
from typing import Any

MOST_BYTES = 2**16
"""More than this is sent at once, so that whoever writes is told soon that nobody reads."""


class JoinedWrites:
    """A transport around ``transport``. A head and its body are one call of the system, and one packet, not two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send bytes when the step is over."""
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)
        self._size += len(data)
        if self._size > MOST_BYTES:
            self._send()

    def close(self) -> None:
        """Send what was written, and end."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """End now."""
        self._written.clear()
        self._transport.abort()

    def _send(self) -> None:
        data = b"".join(self._written)
        self._written.clear()
        self._size = 0
        if data and not self._transport.is_closing():
            self._transport.write(data)
