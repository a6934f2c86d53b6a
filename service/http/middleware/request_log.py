"""Request ids, access log and metrics of requests, and answers to unexpected errors."""

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
from service.http.problems import MAX_PATH_LENGTH, on_factrfm_error, on_fault
from service.http.request_context import ORIGIN
from service.http.request_headers import header
from worker.contracts.messages import Origin
from worker.telemetry.tracing import Tracing, trace_id

log = structlog.get_logger("service.http.middleware.request_log")

ID = b"x-request-id"
VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others are one label value, because label values live as long as the process."""
MAX_LABELS = 1000
"""Cached, because the library's lookup is slow."""
CLIENT_CLOSED_REQUEST = 499
"""Status in log and metrics if the client left before its body was complete. It is never sent."""

REQUESTS = Counter("factrfm_http_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "factrfm_http_request_seconds",
    "Time to the first byte of the answer, without answers that the caller asked to wait for",
    ["method", "route"],
)


class RequestLog:
    """Middleware: echoes or creates X-Request-ID, binds it to the log, measures, and answers unexpected errors.

    Starlette handles such errors outside of all middleware, where the id is unknown.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent_id = header(scope, ID) or ""
        request_id = sent_id if VALID_ID.fullmatch(sent_id) else secrets.token_hex(16)
        traceparent = self._tracing.current() or _valid_traceparent(header(scope, b"traceparent"))
        ORIGIN.set(Origin(request_id=request_id, traceparent=traceparent))
        self._tracing.note("factrfm.request_id", request_id)
        # each request has its own context, so nothing has to be unbound
        if traceparent is None:
            structlog.contextvars.bind_contextvars(request_id=request_id)
        else:
            structlog.contextvars.bind_contextvars(request_id=request_id, trace_id=trace_id(traceparent))
        answer = _Answer(scope, send, request_id)
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            # a stopping server cancels requests after a grace period
            if answer.begun:
                raise
            stopping = NotReady("this process is stopping and did not come to an end with this request; try again")
            await on_factrfm_error(Request(scope), stopping)(scope, receive, answer.send)
        except ClientDisconnect:
            answer.measure(CLIENT_CLOSED_REQUEST)
        except Exception as error:
            fault = on_fault(Request(scope), error)
            if answer.begun:
                # the server then aborts the connection, so the client sees that the answer is incomplete
                raise
            await fault(scope, receive, answer.send)


class _Answer:
    """Passes an answer on with the request id in its head, and measures the time to the head."""

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
        """Count and log the request. ``waited``: the client asked to wait, so its time is not observed."""
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


def _valid_traceparent(traceparent: str | None) -> str | None:
    return traceparent if trace_id(traceparent) is not None else None
