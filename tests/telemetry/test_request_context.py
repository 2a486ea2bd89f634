"""Trace headers of requests."""

import pytest

from backend.telemetry.request_context import RequestContext, TraceContext, parse_trace

ID = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("traceparent", "cloud", "trace"),
    [
        (f"00-{ID}-{SPAN}-01", "", TraceContext(ID, SPAN, True)),
        (f"00-{ID}-{SPAN}-00", "", TraceContext(ID, SPAN, False)),
        (f"01-{ID}-{SPAN}-01-later", "", TraceContext(ID, SPAN, True)),
        ("", f"{ID}/{int(SPAN, 16)};o=1", TraceContext(ID, SPAN, True)),
        ("", f"{ID.upper()}/1;o=0", TraceContext(ID, "0" * 15 + "1", False)),
        ("", f"{ID}/1", TraceContext(ID, "0" * 15 + "1", None)),
        ("", ID, TraceContext(ID, None, None)),
        (f"00-{ID}-{SPAN}-01", f"{'1' * 32}/1;o=0", TraceContext(ID, SPAN, True)),
        ("nonsense", f"{'1' * 32}/1;o=1", TraceContext("1" * 32, "0" * 15 + "1", True)),
    ],
)
def test_traceparent_takes_precedence_over_the_google_header(
    traceparent: str, cloud: str, trace: TraceContext
) -> None:
    assert parse_trace(traceparent.encode(), cloud.encode()) == trace


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"ff-{ID}-{SPAN}-01",
        f"00-{ID.upper()}-{SPAN}-01",
        f"00-{ID}-{SPAN}-01\n",
        f'00-{ID}-{SPAN}-01", "severity": "CRITICAL',
    ],
)
@pytest.mark.parametrize("cloud", ["", "x", f"{'0' * 32}/1;o=1", f"{ID}/{'9' * 21}", "a/b;o=c"])
def test_invalid_headers_are_ignored(traceparent: str, cloud: str) -> None:
    assert parse_trace(traceparent.encode(), cloud.encode()) is None


def test_own_span_takes_precedence_over_the_headers() -> None:
    own = TraceContext("2" * 32, "3" * 16, True)
    assert RequestContext("id", (f"00-{ID}-{SPAN}-01".encode(), b""), own).trace == own
