"""Logs on standard error: one JSON object a line, or text for a terminal."""

import contextlib
import logging
import sys
from typing import TextIO

import structlog

from worker.contracts.messages import Origin
from worker.telemetry.tracing import trace_id


def configure_logging(level: str, form: str) -> None:
    """Send everything of this process, libraries included, through one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr is not None and sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    structlog.configure(
        # not by way of the standard library, which takes twice as long for a line
        processors=[*shared, renderer],
        # what is below the level is not even put together
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _Lines(handler),
        cache_logger_on_first_use=True,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _Lines:
    """Writes lines where ``handler`` does. One that cannot be written stops nobody, also where there is no stream."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]") -> None:
        self._handler = handler

    def write(self, line: str) -> None:
        with contextlib.suppress(Exception):
            # one call, so that the lines of several threads stay whole
            self._handler.stream.write(line + "\n")
            self._handler.flush()

    debug = info = warning = error = critical = write


def attempt_context(job_id: str, attempt: int, origin: Origin) -> dict[str, str | int]:
    """Return what every line of the log about an attempt names, in the supervisor and in the training process."""
    named = {
        "request_id": origin.request_id,
        "job_id": job_id,
        "attempt": attempt,
        "project": origin.project,
        "trace_id": trace_id(origin.traceparent),
    }
    return {key: value for key, value in named.items() if value is not None}
