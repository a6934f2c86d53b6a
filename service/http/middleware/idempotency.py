"""The Idempotency-Key header on any POST (IETF draft-ietf-httpapi-idempotency-key-header-07).

The first request with a key runs and its answer is kept; the same request again gets that answer. Refusals are kept
where nothing but the request itself was wrong: what was missing or busy may be there at the next try. The body is read
to its end first, to a temporary file when it is long, because its digest tells requests apart.
"""

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import IO

import structlog
from anyio import to_thread
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.caller import ASKING
from service.http.problems import LASTING, on_database_away, on_own_error
from service.http.request_context import STARTED
from service.http.request_headers import IDEMPOTENCY_HEADER, MAX_KEY_LENGTH, header
from worker.contracts.errors import FactRFMError, InvalidRequest
from worker.store import idempotency
from worker.store.database import Database
from worker.store.files.disk_full import needing_room

log = structlog.get_logger()

RAW_IDEMPOTENCY_HEADER = IDEMPOTENCY_HEADER.lower().encode()
IN_MEMORY = 2**20
BLOCK = 2**18
KEEP_SECONDS = 5.0
JSON_LENGTH = "inference-header-content-length"
KEPT_HEADERS = (
    "content-type",
    "location",
    "etag",
    "preference-applied",
    "content-encoding",
    "unknown-categories",
    JSON_LENGTH,
)
KEPT_REFUSALS = (400, 413, 415, 422)
"""Of these, those of errors that are lasting. A refusal changed nothing, so the others are judged anew."""


class Idempotency:
    """Middleware over the application's database."""

    def __init__(self, app: ASGIApp, database: Callable[[Request], Database], now: Callable[[], datetime]) -> None:
        self._app = app
        self._database = database
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = header(scope, RAW_IDEMPOTENCY_HEADER) if scope["type"] == "http" and scope["method"] == "POST" else None
        if key is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            if not 0 < len(key) <= MAX_KEY_LENGTH:
                raise InvalidRequest(f"{IDEMPOTENCY_HEADER} must have 1 to {MAX_KEY_LENGTH} characters, not {len(key)}")
            with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as body:
                with needing_room("the request"):
                    fingerprint = await _spool(scope, receive, body)
                database = self._database(request)
                found = await to_thread.run_sync(idempotency.begin, database, key, fingerprint, self._now())
                if isinstance(found, idempotency.Replay):
                    answer = Response(found.body, found.status, {**found.headers, "Idempotency-Replayed": "true"})
                    await answer(scope, receive, send)
                    return
                await self._run(database, found, scope, _replayed(body, receive), send)
        except FactRFMError as error:
            await on_own_error(request, error)(scope, receive, send)
        except OperationalError as error:
            # of ``begin``: errors of the route are answered there, and those after the answer are logged
            await on_database_away(request, error)(scope, receive, send)

    async def _run(
        self, database: Database, started: idempotency.Started, scope: Scope, receive: Receive, send: Send
    ) -> None:
        settled = False

        async def settle(answer: _Answer) -> None:
            # before the caller has the end of the answer, for it may send the same again at once
            nonlocal settled
            if settled:
                return
            if not _is_kept(scope, answer.status):
                settled = True
                await _abandon(database, started)
            elif answer.whole:
                settled = True
                with _unsettled_at_worst():
                    await to_thread.run_sync(
                        idempotency.finish,
                        database,
                        started,
                        answer.status,
                        answer.headers,
                        bytes(answer.body),
                        self._now(),
                    )

        STARTED.set(started)
        try:
            async with self._kept(database, started):
                await self._app(scope, receive, _Answer(send, settle))
        finally:
            if not settled:
                with contextlib.suppress(asyncio.CancelledError):
                    await _abandon(database, started)

    @asynccontextmanager
    async def _kept(self, database: Database, started: idempotency.Started) -> AsyncIterator[None]:
        """Say now and then that the request still runs."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(KEEP_SECONDS)
                with _unsettled_at_worst():
                    await to_thread.run_sync(idempotency.keep, database, started, self._now())

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()


def _is_kept(scope: Scope, status: int) -> bool:
    if 200 <= status < 300:
        return True
    # what a model says of rows depends on which one its name stands for
    asked = scope["path"].endswith(ASKING)
    return status in KEPT_REFUSALS and not asked and bool(scope.get("state", {}).get(LASTING, True))


@contextmanager
def _unsettled_at_worst() -> Iterator[None]:
    """Let a database that is away change no answer: the key then counts as in flight, and after a while as dead."""
    try:
        yield
    except OperationalError as error:
        log.warning("idempotency key not settled", error=type(error).__name__)


async def _abandon(database: Database, started: idempotency.Started) -> None:
    with _unsettled_at_worst():
        await to_thread.run_sync(idempotency.abandon, database, started)


class _Answer:
    """Passes an answer on and remembers it; ``settle`` hears of its status, and of its end, before they are sent."""

    def __init__(self, send: Send, settle: Callable[["_Answer"], Awaitable[None]]) -> None:
        self._send = send
        self._settle = settle
        self.status = 500
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(raw=message.get("headers", []))
            self.headers = {name: headers[name] for name in KEPT_HEADERS if name in headers}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)
        await self._settle(self)
        await self._send(message)


async def _spool(scope: Scope, receive: Receive, body: IO[bytes]) -> str:
    """Read the body into a file; return the digest of method, address, type and body."""
    headers = Headers(scope=scope)
    named = [scope["method"], scope["path"], scope.get("query_string", b"").decode("latin-1")]
    named += [headers.get(name, "") for name in ("content-type", "content-encoding", JSON_LENGTH)]
    digest = hashlib.sha256("\0".join(named).encode())
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the connection ended before the body did")
        block = message.get("body", b"")
        digest.update(block)
        await to_thread.run_sync(body.write, block)
        if not message.get("more_body", False):
            break
    body.seek(0)
    return digest.hexdigest()


def _replayed(body: IO[bytes], receive: Receive) -> Receive:
    ended = False

    async def again() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        block = await to_thread.run_sync(body.read, BLOCK)
        ended = len(block) < BLOCK
        return {"type": "http.request", "body": block, "more_body": not ended}

    return again
