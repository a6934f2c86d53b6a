"""Questions that arrive while others are computed are computed together.

Nothing waits while a thread is free, so a lone question is as quick as without batches; under load the batches grow by
themselves. Owners take turns: whoever asks much delays himself.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

Q = TypeVar("Q")
A = TypeVar("A")

Compute = Callable[[Sequence[Q]], Sequence[A | Exception]]


@dataclass
class _Asked(Generic[Q, A]):
    question: Q
    size: int
    compute: Compute[Q, A]
    answered: asyncio.Future[A]


class Batches(Generic[Q, A]):
    """Batches of one event loop.

    ``threads``: batches computed at once. ``most``: questions in a batch. ``most_size``: the same of the sizes that
    are said of them; a larger question goes alone. ``wait_s``: how long a question waits for company.
    """

    def __init__(self, threads: int, most: int, most_size: int, wait_s: float = 0.0) -> None:
        self._threads = threads
        self._most = most
        self._most_size = most_size
        self._wait_s = wait_s
        self._limiter: anyio.CapacityLimiter | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._lines: OrderedDict[Hashable, OrderedDict[Hashable, deque[_Asked[Q, A]]]] = OrderedDict()

    async def ask(self, owner: Hashable, about: Hashable, compute: Compute[Q, A], question: Q, size: int) -> A:
        """Return the answer to a question, which may be computed with others of the same owner ``about`` the same.

        ``compute`` answers several in a thread, each by a value or by the exception to raise here.
        """
        asked: _Asked[Q, A] = _Asked(question, size, compute, asyncio.get_running_loop().create_future())
        self._lines.setdefault(owner, OrderedDict()).setdefault(about, deque()).append(asked)
        if self._wait_s > 0:
            asyncio.get_running_loop().call_later(self._wait_s, self._start)
        else:
            self._start()
        return await asked.answered

    def _start(self) -> None:
        while len(self._running) < self._threads and self._lines:
            batch = self._take()
            if batch:
                task = asyncio.get_running_loop().create_task(self._answer(batch))
                self._running.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _take(self) -> list[_Asked[Q, A]]:
        """Take the next batch of the owner whose turn it is; who asked and went away is left out."""
        owner, lines = self._lines.popitem(last=False)
        about, line = lines.popitem(last=False)
        batch: list[_Asked[Q, A]] = []
        size = 0
        while line and len(batch) < self._most and (not batch or size + line[0].size <= self._most_size):
            asked = line.popleft()
            if not asked.answered.done():
                batch.append(asked)
                size += asked.size
        if line:
            lines[about] = line
        if lines:
            self._lines[owner] = lines
        return batch

    async def _answer(self, batch: list[_Asked[Q, A]]) -> None:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads)
        answers: Sequence[A | Exception]
        try:
            answers = await anyio.to_thread.run_sync(
                batch[0].compute, [asked.question for asked in batch], limiter=self._limiter
            )
        except Exception as error:
            answers = [error] * len(batch)
        for asked, answer in zip(batch, answers, strict=True):
            if asked.answered.done():
                continue
            if isinstance(answer, Exception):
                asked.answered.set_exception(answer)
            else:
                asked.answered.set_result(answer)
