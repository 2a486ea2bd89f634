"""A request belongs to the trace that its headers name, whoever made them up."""

import pytest

from backend.telemetry.request import Request, Trace, parse_trace

ID = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("traceparent", "cloud", "trace"),
    [
        (f"00-{ID}-{SPAN}-01", "", Trace(ID, SPAN, True)),
        (f"00-{ID}-{SPAN}-00", "", Trace(ID, SPAN, False)),
        (f"01-{ID}-{SPAN}-01-later", "", Trace(ID, SPAN, True)),
        ("", f"{ID}/{int(SPAN, 16)};o=1", Trace(ID, SPAN, True)),
        ("", f"{ID.upper()}/1;o=0", Trace(ID, "0" * 15 + "1", False)),
        ("", f"{ID}/1", Trace(ID, "0" * 15 + "1", None)),
        ("", ID, Trace(ID, None, None)),
        (f"00-{ID}-{SPAN}-01", f"{'1' * 32}/1;o=0", Trace(ID, SPAN, True)),
        ("nonsense", f"{'1' * 32}/1;o=1", Trace("1" * 32, "0" * 15 + "1", True)),
    ],
)
def test_both_headers_are_understood_and_the_standard_one_wins(
    traceparent: str, cloud: str, trace: Trace
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
def test_what_makes_no_sense_names_no_trace(traceparent: str, cloud: str) -> None:
    assert parse_trace(traceparent.encode(), cloud.encode()) is None


def test_a_span_of_our_own_comes_before_the_clients() -> None:
    own = Trace("2" * 32, "3" * 16, True)
    assert Request("id", (f"00-{ID}-{SPAN}-01".encode(), b""), own).trace == own
