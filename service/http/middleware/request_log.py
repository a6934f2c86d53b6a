"""Every request gets an id, a line in the log, and a place in the metrics. What fails unforeseen is answered here."""

import asyncio
import re
import secrets
import time
from functools import lru_cache

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import NotReady
from service.http.problems import MAX_PATH_LENGTH, on_fault, on_own_error
from service.http.request_context import ORIGIN
from service.http.request_headers import header
from worker.contracts.messages import Origin
from worker.telemetry.tracing import Tracing, trace_id

log = structlog.get_logger("service.http.middleware.request_log")

ID = b"x-request-id"
SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A caller can make up methods without end; each label value lives as long as the process."""
MAX_LABELS = 1000
"""Kept, because the library takes long to find them."""
HUNG_UP = 499
"""Status in log and metrics of a request whose caller left before its body was there. Nobody sees it."""

REQUESTS = Counter("factrfm_http_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "factrfm_http_request_seconds",
    "Time to the first byte of the answer, without answers that the caller asked to wait for",
    ["method", "route"],
)


class RequestLog:
    """Middleware: echoes or makes X-Request-ID, binds it to the log, measures, and answers an unforeseen error.

    The framework's own place for such errors is outside of all middleware, where the id is not known any more.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header(scope, ID) or ""
        request_id = given if SANE.fullmatch(given) else secrets.token_hex(16)
        traceparent = self._tracing.current() or _sane_traceparent(header(scope, b"traceparent"))
        ORIGIN.set(Origin(request_id=request_id, traceparent=traceparent))
        self._tracing.note("factrfm.request_id", request_id)
        # a request is a task of its own context: what is bound here ends with it
        if traceparent is None:
            structlog.contextvars.bind_contextvars(request_id=request_id)
        else:
            structlog.contextvars.bind_contextvars(request_id=request_id, trace_id=trace_id(traceparent))
        answer = _Answer(scope, send, request_id)
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            # the server ends requests so that outlast its patience when it stops
            if answer.begun:
                raise
            stopping = NotReady("this process is stopping and did not come to an end with this request; try again")
            await on_own_error(Request(scope), stopping)(scope, receive, answer.send)
        except ClientDisconnect:
            answer.measure(HUNG_UP)
        except Exception as error:
            fault = on_fault(Request(scope), error)
            if answer.begun:
                # the server then breaks the connection, so that the caller sees that the answer is not whole
                raise
            await fault(scope, receive, answer.send)


class _Answer:
    """Passes the messages of one answer on, with the id in the first of them, and measures at that."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.begun = False
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._started = time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = [*message.get("headers", ()), (ID, self._request_id.encode())]
            message["headers"] = headers
            self.measure(message["status"], waited=any(name == b"preference-applied" for name, _ in headers))
        await self._send(message)

    def measure(self, status: int, waited: bool = False) -> None:
        """Count and log the request; ``waited``: its time is what the caller asked for, and says nothing of us."""
        scope, seconds = self._scope, time.perf_counter() - self._started
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "other")
        _count(method, route, status).inc()
        if not waited:
            _times(method, route).observe(seconds)
        log.info(
            "request", method=method, path=scope["path"][:MAX_PATH_LENGTH], status=status, seconds=round(seconds, 4)
        )


@lru_cache(MAX_LABELS)
def _count(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, status)


@lru_cache(MAX_LABELS)
def _times(method: str, route: str) -> Histogram:
    return SECONDS.labels(method, route)


def _sane_traceparent(given: str | None) -> str | None:
    return given if trace_id(given) is not None else None
