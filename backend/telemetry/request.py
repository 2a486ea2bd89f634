"""The request in hand: its id and the trace it belongs to, for whoever logs on its behalf."""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

# Asked all day long by machines: no line in the log at INFO, no trace.
PROBES: Final = frozenset(("/health", "/ready", "/metrics"))

_TRACEPARENT: Final = re.compile(
    rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_CLOUD: Final = re.compile(rb"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request belongs: 32 and 16 hexadecimal digits; None is what the client left open."""

    trace_id: str
    span_id: str | None
    sampled: bool | None


@dataclass(slots=True)
class Request:
    """One request. `headers` are the W3C's `traceparent` and Google's `X-Cloud-Trace-Context`."""

    id: str
    headers: tuple[bytes, bytes] = (b"", b"")
    span: Trace | None = None  # of our own tracing, where that is on

    @property
    def trace(self) -> Trace | None:
        """The trace it belongs to, read only when somebody asks."""
        if self.span or not any(self.headers):
            return self.span
        return parse_trace(*self.headers)


current: Final[ContextVar[Request | None]] = ContextVar("request", default=None)


def parse_trace(traceparent: bytes, cloud: bytes) -> Trace | None:
    """Read the two headers, the standard's first; None where neither makes sense."""
    if (found := _TRACEPARENT.fullmatch(traceparent)) and not traceparent.startswith(b"ff"):
        trace_id, span_id = found[1].decode(), found[2].decode()
        if int(trace_id, 16) and int(span_id, 16):
            return Trace(trace_id, span_id, bool(int(found[3], 16) & 1))
    if (found := _CLOUD.fullmatch(cloud)) and int(found[1], 16):
        number = int(found[2] or b"0")
        span = f"{number:016x}" if 0 < number < 1 << 64 else None
        return Trace(found[1].decode().lower(), span, found[3] == b"1" if found[3] else None)
    return None
