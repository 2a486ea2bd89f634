"""OpenTelemetry spans of the page, enabled by the same standard variables as in the backend.

The requests of a script run to the backend continue its trace (client/tracing.py). In a fragment,
which runs without its page, each request has a trace of its own.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace

SERVICE = "prism-frontend"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

log = logging.getLogger("prism.page")


def start(environ: Mapping[str, str] = os.environ) -> None:
    """Send the spans of this process to the endpoint, if there is one; obstacles are logged."""
    if not is_enabled(environ):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(
            "Tracing is disabled: OpenTelemetry is not installed. "
            "Install it with: pip install -r requirements/otel.txt"
        )
        return
    name = environ.get("OTEL_SERVICE_NAME") or SERVICE
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Return whether the variables of OpenTelemetry enable traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    return exporter in ("", "otlp") and any((exporter, *map(environ.get, _ENDPOINTS)))


@contextmanager
def page_span(title: str) -> Iterator[None]:
    """Trace a script run of the page `title`."""
    with trace.get_tracer("prism").start_as_current_span(f"page {title}", record_exception=False):
        yield
