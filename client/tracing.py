"""Spans of the client's requests, in a program that uses OpenTelemetry.

OpenTelemetry is not a dependency: a program that does not import it has no spans.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class RequestSpan:
    """The span of a request; `headers` continue its trace in the backend."""

    def __init__(self, span: Any = None) -> None:
        self.headers: dict[str, str] = {}
        self._span = span

    def respond(self, status: int, headers: Mapping[str, str]) -> None:
        """Record the response."""
        if self._span is not None:
            self._span.set_attribute("http.response.status_code", status)
            if request_id := headers.get("X-Request-ID"):
                self._span.set_attribute("prism.request_id", request_id)


@contextmanager
def request_span(method: str, path: str) -> Iterator[RequestSpan]:
    """Yield the span of a request; it is named by method and first segment of the path.

    Exceptions are recorded by their type only: their text may name private addresses.
    """
    if "opentelemetry.trace" not in sys.modules:
        yield RequestSpan()
        return
    from opentelemetry import propagate, trace

    span = trace.get_tracer("prism_client").start_span(
        f"{method} /{path.split('/')[1]}",
        kind=trace.SpanKind.CLIENT,
        attributes={"http.request.method": method},
    )
    request = RequestSpan(span)
    propagate.inject(request.headers, trace.set_span_in_context(span))
    try:
        yield request
    except Exception as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        span.end()
