"""Heads of requests: their limits, and the checks that the HTTP parsers do not make.

Both parsers get a head only once it is complete and has passed these checks, so that they see a
bounded number of bytes, and so that a proxy cannot understand the end of a request differently.
"""

import re
from typing import Final, NamedTuple

from backend.api.errors import HeadTooLargeError, MalformedRequestError, TargetTooLongError
from backend.server.bodies import Body, ChunkedBody, LengthBody

MAX_HEAD_BYTES: Final = 65_536
MAX_FIELDS: Final = 100
MAX_TARGET_BYTES: Final = 8192

_PROBES: Final = (b"/health", b"/ready", b"/ping", b"/v2/health/live", b"/v2/health/ready")
_END: Final = b"\r\n\r\n"
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\r\n")) + b"\x7f"
_MAX_METHOD: Final = 32  # bytes
_MAX_LENGTH_DIGITS: Final = 15

_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ((?:/|[Hh][Tt][Tt][Pp][Ss]?://|\*(?= ))[!-~]*) "
    rb"HTTP/([0-9]\.[0-9])\r\n"
)
_HOST: Final = b"\r\nhost:"
_HOST_NAME: Final = re.compile(rb"[\w.~!$&'()*+,;=:%\[\]-]*")
_LENGTH: Final = b"\r\ncontent-length:"
_ENCODING: Final = b"\r\ntransfer-encoding:"
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[^\r]*(?=\r\n)", re.IGNORECASE)


class Head(NamedTuple):
    """A checked head: its bytes for the parser, the framing of its body, and what it requests."""

    data: bytes
    body: Body | None
    is_probe: bool  # GET or HEAD of /health or /ready


def find_end(data: bytes | bytearray, start: int) -> int:
    """Return the length of the head at the beginning of `data`, or 0 if it is incomplete.

    The search begins at `start`. Raises HeadTooLargeError, TargetTooLongError or
    MalformedRequestError as soon as the received part shows it.
    """
    end = data.find(_END, max(0, start - len(_END)), MAX_HEAD_BYTES)
    if end >= 0:
        return end + len(_END)
    line = data[: _MAX_METHOD + MAX_TARGET_BYTES]
    line_end = line.find(b"\n")
    if line_end >= 0:
        _parse_request_line(bytes(line[: line_end + 1]))
    elif len(data) > len(line):
        raise TargetTooLongError(_TARGET_DETAIL)
    elif not (b"!" <= line[:1] <= b"~"):
        raise MalformedRequestError("The request is not HTTP.")
    if len(data) >= MAX_HEAD_BYTES:
        raise HeadTooLargeError(_HEAD_DETAIL)
    return 0


def parse_head(data: bytes | bytearray) -> Head:
    """Check a complete head.

    Raises HeadTooLargeError, TargetTooLongError or MalformedRequestError.
    """
    method, target, version = _parse_request_line(data)
    lines = data.count(b"\r\n")
    if lines - 2 > MAX_FIELDS:
        raise HeadTooLargeError(_HEAD_DETAIL)
    if (
        data.count(b"\n") != lines
        or data.count(b"\r") != lines
        or b"\r\n " in data
        or b"\r\n\t" in data
        or len(data.translate(None, _CONTROLS)) != len(data)
    ):
        raise MalformedRequestError(
            "The head of the request contains a control character or a line that is folded or "
            "does not end with CR LF."
        )
    lower = data.lower()
    hosts = _find_values(_HOST, lower)
    if (
        len(hosts) > 1
        or (not hosts and version != b"1.0")
        or not all(map(_HOST_NAME.fullmatch, hosts))
    ):
        raise MalformedRequestError("Send exactly one Host header with a valid host name.")
    lengths, encodings = _find_values(_LENGTH, lower), _find_values(_ENCODING, lower)
    body = _parse_framing(lengths, encodings, version) if lengths or encodings else None
    if b"\r\nupgrade:" in lower:
        # The service switches to no other protocol. llhttp would skip the body of the request.
        data = _UPGRADE.sub(b"", data)
    is_probe = target.partition(b"?")[0] in _PROBES and method in (b"GET", b"HEAD")
    return Head(bytes(data), body, is_probe)


_HEAD_DETAIL: Final = (
    f"A request's head may have at most {MAX_HEAD_BYTES:,} bytes and {MAX_FIELDS} header fields. "
    "Send fewer or shorter headers."
)
_TARGET_DETAIL: Final = (
    f"Path and query may have at most {MAX_TARGET_BYTES:,} bytes. Send the data in the body."
)


def _parse_request_line(data: bytes | bytearray) -> tuple[bytes, bytes, bytes]:
    """Return the method, target and version of the request line at the beginning of `data`."""
    match = _REQUEST_LINE.match(data)
    if match is None:
        raise MalformedRequestError("The request line is not valid HTTP/1.1.")
    method, target, version = match.groups()
    if version not in (b"1.1", b"1.0"):
        # RFC 9110 allows 505 here, but 5xx are reserved for failures of the service.
        raise MalformedRequestError("Only HTTP/1.1 and HTTP/1.0 are supported.")
    if len(target) > MAX_TARGET_BYTES:
        raise TargetTooLongError(_TARGET_DETAIL)
    if method == b"CONNECT":
        raise MalformedRequestError("The service is not a proxy: CONNECT is not supported.")
    return method, target, version


def _parse_framing(lengths: list[bytes], encodings: list[bytes], version: bytes) -> Body | None:
    """Return the framing that the values of both header fields declare, if there is exactly one."""
    if len(lengths) + len(encodings) != 1:
        raise MalformedRequestError("Send exactly one Content-Length or Transfer-Encoding.")
    if encodings:
        if encodings != [b"chunked"] or version != b"1.1":
            raise MalformedRequestError("The only supported Transfer-Encoding is chunked.")
        return ChunkedBody()
    if not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise MalformedRequestError("The Content-Length is not a number.")
    return LengthBody(int(lengths[0])) if int(lengths[0]) else None


def _find_values(field: bytes, lower: bytes | bytearray) -> list[bytes]:
    """Return the values of a header field, without the blanks around them."""
    values = []
    start = lower.find(field)
    while start >= 0:
        start += len(field)
        end = lower.find(b"\r", start)
        values.append(bytes(lower[start:end]).strip(b" \t"))
        start = lower.find(field, end)
    return values
