"""Dynamic batching: items that arrive while others are computed are computed together.

A lone item only waits for the end of the event loop's current iteration; under load the batches grow. While a batch is
computed, small items of the same key wait for it even if a thread is free, because two concurrent batches would share
the GIL. They do not wait for large items: one extra thread is reserved for small ones. Owners take turns, so an owner
of many items delays only its own.
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

BatchKey = tuple[Hashable, bool]
"""The topic of an item, and whether it is small."""
QueueKey = tuple[Hashable, BatchKey]
"""Owner and batch key: items of a queue may be computed together."""
Compute = Callable[[Sequence[Q]], Sequence[A | Exception]]


@dataclass
class _Pending(Generic[Q, A]):
    item: Q
    size: int
    compute: Compute[Q, A]
    future: asyncio.Future[A]


class Batches(Generic[Q, A]):
    """Batches of one event loop.

    ``threads``: concurrent batches, besides one of small items. ``max_items``: items in a batch. ``max_size``: sum of
    their sizes; a larger item is computed alone. ``small``: largest size of a small item. ``wait_s``: how long an item
    waits for others.
    """

    def __init__(self, threads: int, max_items: int, max_size: int, small: int, wait_s: float = 0.0) -> None:
        self._threads = threads
        self._max_items = max_items
        self._max_size = max_size
        self._small = small
        self._wait_s = wait_s
        self._limiter: anyio.CapacityLimiter | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._busy: Counter[QueueKey] = Counter()
        """Running batches of small items, by queue."""
        self._queues: OrderedDict[Hashable, OrderedDict[BatchKey, deque[_Pending[Q, A]]]] = OrderedDict()
        self._called = False

    async def submit(self, owner: Hashable, about: Hashable, compute: Compute[Q, A], item: Q, size: int) -> A:
        """Return the answer to an item, which may be computed with others of the same owner and topic (``about``).

        ``compute`` runs in a thread and returns, for each item, a value or the exception to raise here.
        """
        loop = asyncio.get_running_loop()
        pending: _Pending[Q, A] = _Pending(item, size, compute, loop.create_future())
        batch_key = about, size <= self._small
        self._queues.setdefault(owner, OrderedDict()).setdefault(batch_key, deque()).append(pending)
        if self._wait_s > 0:
            loop.call_later(self._wait_s, self._start)
        elif not self._called:
            # runs after all ready callbacks, so that requests that came together form a batch
            self._called = True
            loop.call_soon(self._start)
        return await pending.future

    def _start(self) -> None:
        self._called = False
        while (key := self._next()) is not None:
            batch = self._take(*key)
            if batch:
                task = asyncio.get_running_loop().create_task(self._answer(batch))
                self._running.add(task)
                _, (_, small) = key
                if small:
                    self._busy[key] += 1
                task.add_done_callback(partial(self._ended, key if small else None))

    def _ended(self, key: QueueKey | None, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if key is not None:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
        self._start()

    def _next(self) -> QueueKey | None:
        """Return the key of the next queue that need not wait."""
        full = len(self._running) >= self._threads
        if full and (self._busy or len(self._running) > self._threads):
            return None
        for owner, queues in self._queues.items():
            for batch_key in queues:
                _, small = batch_key
                waits = self._max_items > 1 and (owner, batch_key) in self._busy if small else full
                if not waits:
                    return owner, batch_key
        return None

    def _take(self, owner: Hashable, batch_key: BatchKey) -> list[_Pending[Q, A]]:
        """Take the next batch of a queue, without cancelled items, and move the queue to the end."""
        queues = self._queues.pop(owner)
        queue = queues.pop(batch_key)
        batch: list[_Pending[Q, A]] = []
        size = 0
        while queue and len(batch) < self._max_items and (not batch or size + queue[0].size <= self._max_size):
            pending = queue.popleft()
            if not pending.future.done():
                batch.append(pending)
                size += pending.size
        if queue:
            queues[batch_key] = queue
        if queues:
            self._queues[owner] = queues
        return batch

    async def _answer(self, batch: list[_Pending[Q, A]]) -> None:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads + 1)
        answers: Sequence[A | Exception]
        try:
            answers = await anyio.to_thread.run_sync(
                batch[0].compute, [pending.item for pending in batch], limiter=self._limiter
            )
        except Exception as error:
            answers = [error] * len(batch)
        for pending, answer in zip(batch, answers, strict=True):
            if pending.future.done():
                continue
            if isinstance(answer, Exception):
                pending.future.set_exception(answer)
            else:
                pending.future.set_result(answer)
