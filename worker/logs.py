"""Logs on standard error: one JSON object a line, or text for a terminal."""

import logging
import sys

import structlog

from worker.contracts.messages import Origin
from worker.tracing import trace_id


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
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        # what is below the level is not even put together
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


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
