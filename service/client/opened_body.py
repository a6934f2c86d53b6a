"""A body opened for one try: a file for the blocking client, blocks of bytes for the asynchronous one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import BinaryIO, TypeVar

from service.client.tables import Body

T = TypeVar("T")

BLOCK_BYTES = 2**20


def result(work: Callable[[], T]) -> T:
    """Return the result of work that reads a file."""
    return work()


async def result_async(work: Callable[[], T]) -> T:
    """Return the result of work that reads a file, in a thread."""
    return await asyncio.to_thread(work)


@contextmanager
def opened(body: Body | None) -> Iterator[BinaryIO | None]:
    """Open a body, if there is one, and close it."""
    if body is None:
        yield None
        return
    with body.open() as source:
        yield source


@asynccontextmanager
async def opened_async(body: Body | None) -> AsyncIterator[AsyncIterator[bytes] | None]:
    """Open a body, if there is one, and close it. A thread reads it, so the event loop is not blocked."""
    if body is None:
        yield None
        return
    source = await asyncio.to_thread(body.open)
    with source:
        yield _blocks(source)


async def _blocks(source: BinaryIO) -> AsyncIterator[bytes]:
    while block := await asyncio.to_thread(source.read, BLOCK_BYTES):
        yield block
