"""Limits on the heads of requests, and heads that could be understood in different ways."""

import time
from contextlib import suppress

import pytest

from backend.api import errors
from backend.server import heads
from backend.server.bodies import ChunkedBody, LengthBody
from backend.server.heads import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES, find_end, parse_head


def head(*fields: str, line: str = "GET / HTTP/1.1", host: str = "Host: localhost") -> bytes:
    return "\r\n".join([line, *([host] if host else []), *fields, "", ""]).encode("latin-1")


def read(data: bytes) -> heads.Head:
    assert find_end(data, 0) == len(data)
    return parse_head(data)


def test_head_of_a_browser_is_accepted_unchanged() -> None:
    data = head(
        "Connection: keep-alive",
        'sec-ch-ua: "Chromium";v="140"',
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
        "Accept: */*",
        "Cookie: a=b; c=\xe9",
        line="GET /models?x=%20&y=[1] HTTP/1.1",
        host="Host: [::1]:8000",
    )
    assert read(data) == (data, None, False)


def test_head_ends_at_the_first_empty_line() -> None:
    first = head()
    assert find_end(first + head(), 0) == len(first)
    assert find_end(first[:-1], 0) == 0
    assert find_end(first, len(first) - 1) == len(first)  # the end itself arrives in two parts


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, 10 * MAX_HEAD_BYTES])
@pytest.mark.parametrize("is_complete", [True, False])
def test_head_above_the_size_limit_is_refused(size: int, is_complete: bool) -> None:
    data = head("X: " + "y" * size)
    with pytest.raises(errors.HeadTooLargeError):
        find_end(data if is_complete else data[:size], 0)


def test_head_below_the_size_limit_is_accepted() -> None:
    data = head("X: " + "y" * (MAX_HEAD_BYTES - 100))
    assert read(data).data == data


def test_number_of_fields_is_limited() -> None:
    read(head(*["X: y"] * (MAX_FIELDS - 1)))
    with pytest.raises(errors.HeadTooLargeError):
        read(head(*["X: y"] * MAX_FIELDS))


def test_size_of_the_target_is_limited() -> None:
    path = "/" + "x" * (MAX_TARGET_BYTES - 1)
    read(head(line=f"GET {path} HTTP/1.1"))
    with pytest.raises(errors.TargetTooLongError):
        find_end(head(line=f"GET {path}x HTTP/1.1")[:-2], 0)
    with pytest.raises(errors.TargetTooLongError):
        read(head(line=f"GET {path}x HTTP/1.1"))
    with pytest.raises(errors.TargetTooLongError):
        find_end(f"GET {path * 2}".encode(), 0)  # before the line ends


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",  # TLS
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/2.0\r\nHost",
        b"PRI * HTTP/2.0\r\n",
        b"hello\r\n",
    ],
)
def test_wrong_request_line_is_refused_before_the_head_is_complete(data: bytes) -> None:
    with pytest.raises(errors.MalformedRequestError):
        find_end(data, 0)


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/0.9",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/3.0",
        "GET / http/1.1",
        "GET  / HTTP/1.1",
        "GET /",
        "GET /a b HTTP/1.1",
        "GET /\xe9 HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GET x HTTP/1.1",
        "CONNECT example.com:443 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        " GET / HTTP/1.1",
        "X" * 33 + " / HTTP/1.1",
    ],
)
def test_wrong_request_line_is_refused(line: str) -> None:
    with pytest.raises(errors.MalformedRequestError):
        parse_head(head(line=line))


@pytest.mark.parametrize(
    "fields",
    [
        ["Host: localhost", "Host: localhost"],
        ["Host: localhost", "host: other"],
        [],
        ["Hosts: localhost"],
        ["Host: local host"],
        ["Host: a/b"],
        ["Host: a@b"],
    ],
)
def test_missing_repeated_or_invalid_host_is_refused(fields: list[str]) -> None:
    with pytest.raises(errors.MalformedRequestError):
        read(head(*fields, host=""))


def test_http_1_0_needs_no_host() -> None:
    read(head(line="GET / HTTP/1.0", host=""))


@pytest.mark.parametrize(
    "field",
    [
        "X: 1\n",
        "X: 1\r",
        "X: 1\rY: 2",
        "X: 1\nY: 2",
        "X: 1\r\n 2",
        "X: 1\r\n\t2",
        "X: \x00",
        "X: \x0b",
        "X: \x7f",
    ],
)
def test_control_characters_and_folded_lines_are_refused(field: str) -> None:
    with pytest.raises(errors.MalformedRequestError):
        parse_head(head(field))


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 1", "Content-Length: 1"],
        ["Content-Length: 1", "Transfer-Encoding: chunked"],
        ["Content-Length: 1, 1"],
        ["Content-Length: +1"],
        ["Content-Length: -1"],
        ["Content-Length: 0x1"],
        ["Content-Length: 1_0"],
        ["Content-Length:"],
        ["Content-Length: " + "9" * 16],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding:"],
    ],
)
def test_ambiguous_length_is_refused(fields: list[str]) -> None:
    with pytest.raises(errors.MalformedRequestError):
        read(head(*fields, line="POST / HTTP/1.1"))


def test_chunked_body_needs_http_1_1() -> None:
    with pytest.raises(errors.MalformedRequestError):
        read(head("Transfer-Encoding: chunked", line="POST / HTTP/1.0"))


def test_framing_of_the_body_is_read() -> None:
    assert isinstance(read(head("content-LENGTH:\t5 ")).body, LengthBody)
    assert isinstance(read(head("Transfer-Encoding: Chunked")).body, ChunkedBody)
    assert read(head("Content-Length: 0")).body is None


@pytest.mark.parametrize(
    "field", ["Host:{}?", "Content-Length: 5{}y", "Transfer-Encoding: chunke{}d", "Upgrade: h{}c"]
)
def test_blanks_in_a_value_take_linear_time(field: str) -> None:
    """Quadratic time would be 6 to 45 seconds, in which the service handles nothing else."""
    started = time.process_time()
    with suppress(errors.MalformedRequestError):
        read(head(field.format(" " * 60_000), host="" if field.startswith("Host") else "Host: a"))
    assert time.process_time() - started < 2


def test_upgrade_is_removed() -> None:
    fields = ["Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAEAAEAA"]
    with_upgrade = head("Upgrade: h2c", *fields, "upgrade: websocket", "Upgrade:")
    assert read(with_upgrade).data == head(*fields)


@pytest.mark.parametrize(
    ("line", "is_probe"),
    [
        ("GET /health HTTP/1.1", True),
        ("HEAD /ready?x HTTP/1.1", True),
        ("POST /health HTTP/1.1", False),
        ("GET /healthy HTTP/1.1", False),
        ("GET /models HTTP/1.1", False),
    ],
)
def test_probes_are_recognized(line: str, is_probe: bool) -> None:
    assert read(head(line=line)).is_probe == is_probe
