"""OpenTelemetry spans: FastAPI's span per request, and spans for decode, queue and inference."""

import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from backend.telemetry.request_context import PROBES, TraceContext, current_request

SERVICE: Final = "prism-backend"

# ASGI types, without importing a web framework.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Tracing:
    """Sends traces to the endpoint of the standard variables, until closed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._provider = TracerProvider(resource=_resource(environ), shutdown_on_exit=False)
        self._provider.add_span_processor(QueryRedactor())
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer: Final = self._provider.get_tracer("prism")
        self.config: Final[TelemetryConfig] = {
            "tracer_provider": self._provider,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": lambda scope: scope.get("path") in PROBES,
        }

    def annotate_spans(self, app: App) -> "SpanAnnotator":
        """Wrap `app` so that spans contain request ids and log lines contain span ids."""
        return SpanAnnotator(app)

    def stage_spans(self, model: str) -> Callable[[float, float, float], None]:
        """Return a function that records the decode, queue and inference spans of one image.

        It takes the three durations in seconds. The spans follow each other; the last ends now.
        """
        attributes = {"prism.model": model}

        def record(decode: float, queue: float, inference: float) -> None:
            if not trace.get_current_span().is_recording():
                return
            end = time.time_ns()
            for name, seconds in (("inference", inference), ("queue", queue), ("decode", decode)):
                begin = end - round(seconds * 1e9)
                span = self.tracer.start_span(name, start_time=begin, attributes=attributes)
                span.end(end)
                end = begin

        return record

    def close(self, seconds: float = 2.0) -> None:
        """Send pending spans, within `seconds`."""
        shutdown = threading.Thread(target=self._provider.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(seconds)


class QueryRedactor(SpanProcessor):
    """Redacts the query of every request, which may contain image data."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Redact the query."""
        if "url.query" in (span.attributes or {}):
            span.set_attribute("url.query", "REDACTED")


class SpanAnnotator:
    """ASGI middleware that adds request id and model to the span, and the span to the log."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Annotate the span of the request and call the application."""
        span = trace.get_current_span()
        request = current_request.get()
        context = span.get_span_context()
        if request is None or not context.is_valid:
            await self._app(scope, receive, send)
            return
        request.span = TraceContext(
            trace.format_trace_id(context.trace_id),
            trace.format_span_id(context.span_id),
            context.trace_flags.sampled,
        )
        span.set_attribute("prism.request_id", request.id)

        async def send_and_annotate(message: Scope) -> None:
            model = scope["state"].get("model_name")
            if model and message["type"] == "http.response.start":
                span.set_attribute("prism.model", model)
            await send(message)

        await self._app(scope, receive, send_and_annotate)


def _resource(environ: Mapping[str, str]) -> Resource:
    resource = Resource.create()
    is_named = environ.get("OTEL_SERVICE_NAME") or SERVICE_NAME in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return resource if is_named else resource.merge(Resource({SERVICE_NAME: SERVICE}))
