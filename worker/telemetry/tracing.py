"""Spans of one process, exported by OTLP if that is configured; otherwise OpenTelemetry is not imported.

Processes pass the trace context as a W3C traceparent, in the job's row and in the child's order. The exporter itself
reads the standard OTEL_* variables.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Tracing:
    """Records the spans of a process with ``provider``, or not at all."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self.provider = provider

    @classmethod
    def start(cls, service: str, enabled: bool) -> "Tracing":
        """Return the tracing of a process with the name ``service``.

        Without the extra 'otel' it is disabled, with a warning in the log.
        """
        if not enabled:
            return cls()
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            log.warning("no traces are sent: OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra 'otel' is not installed")
            return cls()
        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        log.info("traces are sent", service=service)
        return cls(provider)

    @contextmanager
    def span(self, name: str, parent: str | None, attributes: Mapping[str, str | int | None]) -> Iterator[str | None]:
        """Record the block as a span under ``parent``. Yields the traceparent for child spans.

        Without a provider that is ``parent`` itself. An exception marks the span as failed.
        """
        if self.provider is None:
            yield parent
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        above = propagator.extract({} if parent is None else {"traceparent": parent})
        present = {key: value for key, value in attributes.items() if value is not None}
        with self.provider.get_tracer("factrfm").start_as_current_span(name, context=above, attributes=present):
            yield self.current()

    def current(self) -> str | None:
        """Return the traceparent of the current span, None without one."""
        if self.provider is None:
            return None
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent")

    def note(self, key: str, value: str) -> None:
        """Add an attribute to the current span."""
        if self.provider is not None:
            from opentelemetry import trace

            trace.get_current_span().set_attribute(key, value)

    def close(self) -> None:
        """Export the remaining spans."""
        if self.provider is not None:
            self.provider.shutdown()


def trace_id(traceparent: str | None) -> str | None:
    """Return the trace id of a traceparent; None if it is invalid."""
    match = TRACEPARENT.fullmatch(traceparent or "")
    return None if match is None else match[1]
