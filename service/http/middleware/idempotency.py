"""The Idempotency-Key header on any POST (IETF draft-ietf-httpapi-idempotency-key-header-07).

The first request with a key runs and its answer is stored; the same request again gets that answer. Refusals are stored
if they depend on the request alone: what was missing or busy may be there at the next try. The whole body is read
first, to a temporary file if it is long, because its digest identifies the request.
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

from service.http.caller import READ_ONLY_POSTS
from service.http.problems import LASTING, on_database_away, on_factrfm_error
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
"""Of these, those of lasting errors. Other refusals changed nothing, so a repeated request runs again."""


class Idempotency:
    """Middleware that stores answers in the database."""

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
                record = await to_thread.run_sync(idempotency.begin, database, key, fingerprint, self._now())
                if isinstance(record, idempotency.Replay):
                    answer = Response(record.body, record.status, {**record.headers, "Idempotency-Replayed": "true"})
                    await answer(scope, receive, send)
                    return
                await self._run(database, record, scope, _replayed(body, receive), send)
        except FactRFMError as error:
            await on_factrfm_error(request, error)(scope, receive, send)
        except OperationalError as error:
            # raised by ``begin``; errors of the route are handled there, later ones are logged
            await on_database_away(request, error)(scope, receive, send)

    async def _run(
        self, database: Database, started: idempotency.Started, scope: Scope, receive: Receive, send: Send
    ) -> None:
        settled = False

        async def settle(answer: _Answer) -> None:
            # before the end of the answer is sent, because the client may repeat the request at once
            nonlocal settled
            if settled:
                return
            if not _is_stored(scope, answer.status):
                settled = True
                await _abandon(database, started)
            elif answer.complete:
                settled = True
                with _database_errors_logged():
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
            async with self._renewed(database, started):
                await self._app(scope, receive, _Answer(send, settle))
        finally:
            if not settled:
                with contextlib.suppress(asyncio.CancelledError):
                    await _abandon(database, started)

    @asynccontextmanager
    async def _renewed(self, database: Database, started: idempotency.Started) -> AsyncIterator[None]:
        """Renew the record while the request runs."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(KEEP_SECONDS)
                with _database_errors_logged():
                    await to_thread.run_sync(idempotency.keep, database, started, self._now())

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()


def _is_stored(scope: Scope, status: int) -> bool:
    if 200 <= status < 300:
        return True
    # predictions depend on the version that the model's name stands for
    read_only = scope["path"].endswith(READ_ONLY_POSTS)
    return status in KEPT_REFUSALS and not read_only and bool(scope.get("state", {}).get(LASTING, True))


@contextmanager
def _database_errors_logged() -> Iterator[None]:
    """Log database errors. The key then counts as in flight, and after a while as abandoned."""
    try:
        yield
    except OperationalError as error:
        log.warning("idempotency key not settled", error=type(error).__name__)


async def _abandon(database: Database, started: idempotency.Started) -> None:
    with _database_errors_logged():
        await to_thread.run_sync(idempotency.abandon, database, started)


class _Answer:
    """Passes an answer on and stores it. ``settle`` is called before its status and its end are sent."""

    def __init__(self, send: Send, settle: Callable[["_Answer"], Awaitable[None]]) -> None:
        self._send = send
        self._settle = settle
        self.status = 500
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(raw=message.get("headers", []))
            self.headers = {name: headers[name] for name in KEPT_HEADERS if name in headers}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body", False)
        await self._settle(self)
        await self._send(message)


async def _spool(scope: Scope, receive: Receive, body: IO[bytes]) -> str:
    """Copy the body to a file; return the digest of method, URL, type and body."""
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
