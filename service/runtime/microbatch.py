"""Questions that arrive while others are computed are computed together.

A lone question waits for nothing but the end of what the event loop is at; under load the batches grow by themselves.
While a batch is computed, small questions about the same wait for its end even where a thread is free: two batches at
once would share the interpreter, and each would be half as long. They do not wait for large ones: where those have all
threads there is one more for small ones. Owners take turns: whoever asks much delays himself.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

Q = TypeVar("Q")
A = TypeVar("A")

Topic = tuple[Hashable, bool]
"""What a question is about, and whether it is small."""
Line = tuple[Hashable, Topic]
"""Who asks what: questions that may be computed together."""
Compute = Callable[[Sequence[Q]], Sequence[A | Exception]]


@dataclass
class _Asked(Generic[Q, A]):
    question: Q
    size: int
    compute: Compute[Q, A]
    answered: asyncio.Future[A]


class Batches(Generic[Q, A]):
    """Batches of one event loop.

    ``threads``: batches computed at once, and one of small questions beside them. ``most``: questions in a batch.
    ``most_size``: the same of the sizes that are said of them; a larger question goes alone. ``small``: largest size of
    a small question. ``wait_s``: how long a question waits for company.
    """

    def __init__(self, threads: int, most: int, most_size: int, small: int, wait_s: float = 0.0) -> None:
        self._threads = threads
        self._most = most
        self._most_size = most_size
        self._small = small
        self._wait_s = wait_s
        self._limiter: anyio.CapacityLimiter | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._busy: Counter[Line] = Counter()
        """How many batches of small questions are computed of each line."""
        self._lines: OrderedDict[Hashable, OrderedDict[Topic, deque[_Asked[Q, A]]]] = OrderedDict()
        self._called = False

    async def ask(self, owner: Hashable, about: Hashable, compute: Compute[Q, A], question: Q, size: int) -> A:
        """Return the answer to a question, which may be computed with others of the same owner ``about`` the same.

        ``compute`` answers several in a thread, each by a value or by the exception to raise here.
        """
        loop = asyncio.get_running_loop()
        asked: _Asked[Q, A] = _Asked(question, size, compute, loop.create_future())
        topic = about, size <= self._small
        self._lines.setdefault(owner, OrderedDict()).setdefault(topic, deque()).append(asked)
        if self._wait_s > 0:
            loop.call_later(self._wait_s, self._start)
        elif not self._called:
            # behind all that is ready now: requests that came together are then computed together
            self._called = True
            loop.call_soon(self._start)
        return await asked.answered

    def _start(self) -> None:
        self._called = False
        while (line := self._next()) is not None:
            batch = self._take(*line)
            if batch:
                task = asyncio.get_running_loop().create_task(self._answer(batch))
                self._running.add(task)
                _, (_, small) = line
                if small:
                    self._busy[line] += 1
                task.add_done_callback(partial(self._ended, line if small else None))

    def _ended(self, line: Line | None, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if line is not None:
            self._busy[line] -= 1
            if not self._busy[line]:
                del self._busy[line]
        self._start()

    def _next(self) -> Line | None:
        """Return the line whose turn it is, of those that need not wait."""
        full = len(self._running) >= self._threads
        if full and (self._busy or len(self._running) > self._threads):
            return None
        for owner, lines in self._lines.items():
            for topic in lines:
                _, small = topic
                waits = self._most > 1 and (owner, topic) in self._busy if small else full
                if not waits:
                    return owner, topic
        return None

    def _take(self, owner: Hashable, topic: Topic) -> list[_Asked[Q, A]]:
        """Take the next batch of a line and put it last; who asked and went away is left out."""
        lines = self._lines.pop(owner)
        line = lines.pop(topic)
        batch: list[_Asked[Q, A]] = []
        size = 0
        while line and len(batch) < self._most and (not batch or size + line[0].size <= self._most_size):
            asked = line.popleft()
            if not asked.answered.done():
                batch.append(asked)
                size += asked.size
        if line:
            lines[topic] = line
        if lines:
            self._lines[owner] = lines
        return batch

    async def _answer(self, batch: list[_Asked[Q, A]]) -> None:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads + 1)
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
