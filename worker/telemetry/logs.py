"""Logs on standard error: one JSON object per line, or text for a terminal."""

import contextlib
import logging
import sys
from typing import TextIO

import structlog

from worker.contracts.messages import Origin
from worker.telemetry.tracing import trace_id


def configure_logging(level: str, form: str) -> None:
    """Log everything of this process, libraries included, in one format."""
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
        # not through the standard library, which takes twice as long per line
        processors=[*shared, renderer],
        # lines below the level are not even formatted
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
    """Writes lines to the stream of ``handler``. Errors of writing are ignored, also without a stream."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]") -> None:
        self._handler = handler

    def write(self, line: str) -> None:
        with contextlib.suppress(Exception):
            # one call, so that lines of several threads do not mix
            self._handler.stream.write(line + "\n")
            self._handler.flush()

    debug = info = warning = error = critical = write


def attempt_context(job_id: str, attempt: int, origin: Origin) -> dict[str, str | int]:
    """Return the log context of an attempt, for the supervisor and the training process."""
    named = {
        "request_id": origin.request_id,
        "job_id": job_id,
        "attempt": attempt,
        "project": origin.project,
        "trace_id": trace_id(origin.traceparent),
    }
    return {key: value for key, value in named.items() if value is not None}
