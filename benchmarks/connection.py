"""A client that costs little: one kept connection, requests written as bytes, answers read to their length.

A full HTTP client would take more of the two cores than the service that it measures.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, body: bytes = b"", content_type: str = "application/json", **headers: str) -> bytes:
    """Return a request as it goes over the wire. ``headers``: with underscores for hyphens."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {content_type}"] if body else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Connection:
    """One kept connection to ``port`` on this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    async def ask(self, wire: bytes) -> Answer:
        """Send a request and return its answer."""
        self._writer.write(wire)
        status, headers = await self.head()
        return Answer(status, headers, await self.reader.readexactly(int(headers.get(b"content-length", b"0"))))

    async def start(self, wire: bytes) -> int:
        """Send a request whose answer is a stream; return its status, with the stream left to read."""
        self._writer.write(wire)
        return (await self.head())[0]

    async def head(self) -> tuple[int, dict[bytes, bytes]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        pairs = (line.partition(b":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def close(self) -> None:
        self._writer.close()
