"""Every request gets an id, a line in the log, and a place in the metrics. What fails unforeseen is answered here."""

import re
import time
import uuid

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.origin import ORIGIN
from service.problems import LONGEST_PATH, on_fault
from worker.contracts.messages import Origin
from worker.tracing import Tracing, trace_id

log = structlog.get_logger("service.requests")

HEADER = "X-Request-ID"
SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A caller can make up methods without end; each label value lives as long as the process."""
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
        request = Request(scope)
        given = request.headers.get(HEADER, "")
        origin = Origin(
            request_id=given if SANE.fullmatch(given) else uuid.uuid4().hex,
            traceparent=self._tracing.current() or _sane_traceparent(request.headers.get("traceparent")),
        )
        ORIGIN.set(origin)
        self._tracing.note("factrfm.request_id", str(origin.request_id))
        answer = _Answer(scope, send, str(origin.request_id))
        with structlog.contextvars.bound_contextvars(**_named(origin)):
            try:
                await self._app(scope, receive, answer)
            except ClientDisconnect:
                answer.measure(HUNG_UP)
            except Exception as error:
                fault = on_fault(request, error)
                if answer.begun:
                    # the server then breaks the connection, so that the caller sees that the answer is not whole
                    raise
                await fault(scope, receive, answer)


class _Answer:
    """Passes the messages of one answer on, with the id in the first of them, and measures at that."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.begun = False
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._started = time.perf_counter()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            headers[HEADER] = self._request_id
            self.measure(message["status"], waited="preference-applied" in headers)
        await self._send(message)

    def measure(self, status: int, waited: bool = False) -> None:
        """Count and log the request; ``waited``: its time is what the caller asked for, and says nothing of us."""
        scope, seconds = self._scope, time.perf_counter() - self._started
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "other")
        REQUESTS.labels(method, route, status).inc()
        if not waited:
            SECONDS.labels(method, route).observe(seconds)
        log.info("request", method=method, path=scope["path"][:LONGEST_PATH], status=status, seconds=round(seconds, 4))


def _named(origin: Origin) -> dict[str, str]:
    """Return what the log lines of a request name."""
    named = {"request_id": origin.request_id, "trace_id": trace_id(origin.traceparent)}
    return {key: value for key, value in named.items() if value is not None}


def _sane_traceparent(given: str | None) -> str | None:
    return given if trace_id(given) is not None else None
