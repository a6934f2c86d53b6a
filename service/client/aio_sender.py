"""Sending of the asynchronous client's calls, with retries."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import httpx

from service.client import calls
from service.client.calls import Call
from service.client.connection import Address, refusal, request_arguments
from service.client.deadline import Deadline
from service.client.events import AnyEvent, EventReader
from service.client.opened_body import opened_async
from service.client.retries import Retries
from worker.contracts.resources import FINAL_STATES

T = TypeVar("T")


class AsyncSender:
    """Holds the connections to one service."""

    def __init__(
        self,
        url: str | None,
        key: str | None,
        *,
        timeout: float,
        retries: int,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        address = Address.resolve(url, key)
        self._retries = retries
        self._http = httpx.AsyncClient(
            base_url=address.url, headers=address.headers, timeout=timeout, transport=transport, follow_redirects=False
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        request = request_arguments(call)
        retries = Retries(self._retries)
        while True:
            try:
                async with opened_async(call.body) as content:
                    response = await self._http.request(**request, content=content)
            except httpx.TransportError as error:
                await self._pause(retries, error)
                continue
            if not response.is_error:
                return call.parse(response)
            if call.method == "DELETE" and response.status_code == 404 and retries.made:
                # an earlier try deleted it, and its answer was lost
                return call.parse(response)
            await self._pause(retries, response)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _pause(self, retries: Retries, outcome: httpx.Response | httpx.TransportError) -> None:
        """Sleep until the next try.

        Raises:
            Refused, NotReached: there is no next try.
        """
        seconds = retries.pause(outcome)
        if seconds is None:
            raise refusal(outcome, self._http.base_url)
        await asyncio.sleep(seconds)

    async def events(self, job_id: str, after: int, timeout: float | None) -> AsyncIterator[AnyEvent]:
        """Yield each event of a job once, until it ends. Reconnects after broken connections.

        Raises:
            TimedOut: the job did not end in ``timeout`` seconds.
        """
        reader, retries = EventReader(after), Retries(self._retries)
        deadline = Deadline(job_id, timeout)
        while not reader.ended:
            try:
                async with self._http.stream(
                    "GET", calls.events_path(job_id), headers=reader.headers(), timeout=deadline.read_timeout()
                ) as response:
                    if response.is_error:
                        await response.aread()
                        await self._pause(retries, response)
                        continue
                    async for line in response.aiter_lines():
                        event = reader.take(line)
                        if event is not None:
                            retries = Retries(self._retries)
                            yield event
                        deadline.check()
            except httpx.TransportError as error:
                deadline.check()
                await self._pause(retries, error)
                continue
            # a service that restarts ends its streams before the jobs end
            if not reader.ended:
                job = await self.send(calls.job(job_id))
                if job.state in FINAL_STATES:
                    return
                await self._pause(retries, httpx.ReadError("the stream of events ended before the job did"))
