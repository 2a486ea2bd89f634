"""The spans of a request: FastAPI's own, and one each for decoding, waiting, the forward pass."""

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

from backend.inference.observer import Gathered, Observer, Shed
from backend.telemetry.request import PROBES, Trace, current

SERVICE: Final = "prism-backend"

# An ASGI application, without the name of a web framework.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Tracing:
    """Traces until it is closed; sends to where the standard variables say."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._provider = TracerProvider(resource=_resource(environ), shutdown_on_exit=False)
        self._provider.add_span_processor(WithoutQueries())
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

    def annotate(self, app: App) -> "Annotate":
        """Wrap `app` so that its spans and the log know of each other."""
        return Annotate(app)

    def observer(self, inner: Observer, model: str) -> Observer:
        """An observer that tells `inner` everything, and makes spans of the time of an answer."""
        return TracedModel(inner, self.tracer, model)

    def close(self, seconds: float = 2.0) -> None:
        """Send what is left, in at most `seconds`."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)


class WithoutQueries(SpanProcessor):
    """Hides the query of every request: a drawing may be in it."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Overwrite it before anything can be sent."""
        if "url.query" in (span.attributes or {}):
            span.set_attribute("url.query", "REDACTED")


class Annotate:
    """ASGI middleware: the request's id and model in its span, and the span in the log."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        span = trace.get_current_span()
        request = current.get()
        context = span.get_span_context()
        if request is None or not context.is_valid:
            await self._app(scope, receive, send)
            return
        request.span = Trace(
            trace.format_trace_id(context.trace_id),
            trace.format_span_id(context.span_id),
            context.trace_flags.sampled,
        )
        span.set_attribute("prism.request_id", request.id)

        async def send_named(message: Scope) -> None:
            model = scope["state"].get("model_name")
            if model and message["type"] == "http.response.start":
                span.set_attribute("prism.model", model)
            await send(message)

        await self._app(scope, receive, send_named)


class TracedModel:
    """An Observer that adds spans below the request's."""

    def __init__(self, inner: Observer, tracer: trace.Tracer, model: str) -> None:
        self._inner = inner
        self._tracer = tracer
        self._attributes = {"prism.model": model}

    def admitted(self) -> None:
        """Pass it on."""
        self._inner.admitted()

    def shed(self, reason: Shed) -> None:
        """Pass it on."""
        self._inner.shed(reason)

    def expired(self) -> None:
        """Pass it on."""
        self._inner.expired()

    def abandoned(self) -> None:
        """Pass it on."""
        self._inner.abandoned()

    def answered(self, decode: float, queue: float, inference: float) -> None:
        """Make three spans that end one after the other, the last of them now."""
        self._inner.answered(decode, queue, inference)
        if not trace.get_current_span().is_recording():
            return
        end = time.time_ns()
        for name, seconds in (("inference", inference), ("queue", queue), ("decode", decode)):
            begin = end - round(seconds * 1e9)
            span = self._tracer.start_span(name, start_time=begin, attributes=self._attributes)
            span.end(end)
            end = begin

    def failed(self, cause: str | BaseException) -> None:
        """Pass it on."""
        self._inner.failed(cause)

    def batch(self, size: int, reason: Gathered) -> None:
        """Pass it on."""
        self._inner.batch(size, reason)

    def depth(self, waiting: int) -> None:
        """Pass it on."""
        self._inner.depth(waiting)


def _resource(environ: Mapping[str, str]) -> Resource:
    found = Resource.create()
    named = environ.get("OTEL_SERVICE_NAME") or SERVICE_NAME in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return found if named else found.merge(Resource({SERVICE_NAME: SERVICE}))
