"""Context of the current request for logs and traces: its id and its trace."""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

# Polled by machines: not logged at INFO, not traced.
PROBES: Final = frozenset(
    ("/health", "/ready", "/ping", "/metrics", "/v2/health/live", "/v2/health/ready")
)

_TRACEPARENT: Final = re.compile(
    rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_CLOUD: Final = re.compile(rb"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]+))?")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Ids of 32 and 16 hexadecimal digits; None if the client did not send them."""

    trace_id: str
    span_id: str | None
    sampled: bool | None


@dataclass(slots=True)
class RequestContext:
    """A request. `headers` are `traceparent` (W3C) and `X-Cloud-Trace-Context` (Google)."""

    id: str
    headers: tuple[bytes, bytes] = (b"", b"")
    span: TraceContext | None = None  # the span of this service, if tracing is enabled

    @property
    def trace(self) -> TraceContext | None:
        """The trace of the request; the headers are parsed on access."""
        if self.span or not any(self.headers):
            return self.span
        return parse_trace(*self.headers)


current_request: Final[ContextVar[RequestContext | None]] = ContextVar("request", default=None)


def parse_trace(traceparent: bytes, cloud: bytes) -> TraceContext | None:
    """Parse the two headers, `traceparent` first; return None if both are invalid."""
    if (match := _TRACEPARENT.fullmatch(traceparent)) and not traceparent.startswith(b"ff"):
        trace_id, span_id = match[1].decode(), match[2].decode()
        if int(trace_id, 16) and int(span_id, 16):
            return TraceContext(trace_id, span_id, bool(int(match[3], 16) & 1))
    if (match := _CLOUD.fullmatch(cloud)) and int(match[1], 16):
        number = int(match[2] or b"0")
        span = f"{number:016x}" if 0 < number < 1 << 64 else None
        return TraceContext(match[1].decode().lower(), span, match[3] == b"1" if match[3] else None)
    return None
