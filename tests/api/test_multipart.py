"""Multipart forms: the fast parser for a single part agrees with the general parser."""

import gc
import weakref

import httpx
import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.api.errors import MalformedRequestError
from backend.api.multipart import FormParser, Upload, parse_boundary, parse_single_part
from tests.conftest import FUZZ_FACTOR

LIMIT = 10_000
BOUNDARY = b"x-boundary"
# Parts of forms, so that random content resembles a form.
FRAGMENTS = [
    b"\r\n",
    b"--",
    b"-",
    b"\r",
    b"\n",
    BOUNDARY,
    b"\r\n--" + BOUNDARY,
    b"\0",
    b"\xff",
    b'"',
]
FORM_LIKE_BYTES = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=12).map(
    b"".join
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def parse_with_form_parser(body: bytes, limit: int = LIMIT) -> list[Upload]:
    form = FormParser(BOUNDARY, limit)
    form.write(body)
    return form.finish()


def body_of(head: bytes, content: bytes, end: bytes = b"--\r\n") -> bytes:
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n--" + BOUNDARY + end


def head_of(filename: bytes = b"a.png", name: bytes = b"file", rest: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="%b"; filename="%b"%b' % (name, filename, rest)


def is_same(one: Upload, other: Upload) -> bool:
    """Return whether both have the same name, file name, data and `oversized` flag."""
    return (one.name, one.filename, bytes(one.data), one.oversized) == (
        other.name,
        other.filename,
        bytes(other.data),
        other.oversized,
    )


def check_fast_parser(body: bytes, limit: int = LIMIT) -> bool:
    """Return whether the fast parser accepts the form; fail if the general parser disagrees."""
    fast = parse_single_part(body, BOUNDARY, limit)
    if fast is None:
        return False
    (general,) = parse_with_form_parser(body, limit)
    assert is_same(fast, general)
    return True


@settings(max_examples=500 * FUZZ_FACTOR, deadline=None)
@given(content=FORM_LIKE_BYTES, end=st.sampled_from([b"--\r\n", b"--"]))
@example(content=b"\r\n--" + BOUNDARY, end=b"--")
@example(content=b"", end=b"--\r\n")
def test_any_content_is_parsed_alike(content: bytes, end: bytes) -> None:
    plain = b"\r\n--" + BOUNDARY not in content
    assert check_fast_parser(body_of(head_of(), content, end)) or not plain


@settings(max_examples=500 * FUZZ_FACTOR, deadline=None)
@given(
    filename=NAMES.map(str.encode) | st.binary(max_size=12),
    name=st.sampled_from([b"file", b"image", b"FILE", b"files", b"cat", b""]),
)
@example(filename=b"filename*=utf-8''other", name=b"file")
@example(filename=b"a;b=c", name=b"file")
@example(filename=b"a\tb\x0b\x85", name=b"file")
@example(filename=b"a\0b", name=b"file")
@example(filename=b"", name=b"file")
@example(filename=b"a", name=b"File")
def test_any_name_is_parsed_alike(filename: bytes, name: bytes) -> None:
    check_fast_parser(body_of(head_of(filename, name), b"content"))


@pytest.mark.parametrize(
    "rest",
    [
        b"\r\nContent-Type: image/png",
        b"\r\ncontent-type: text/plain; charset=utf-8; filename=other",
        b"\r\nContent-Type: ",
    ],
)
def test_fast_parser_accepts_content_type(rest: bytes) -> None:
    assert check_fast_parser(body_of(head_of(rest=rest), b"content"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--" + BOUNDARY,
        b"--" + BOUNDARY + b"--\r\n",
        body_of(head_of(), b"content")[:-6],
        body_of(head_of(), b"content", b""),
        body_of(head_of(), b"content") + b"epilogue",
        b"prologue\r\n" + body_of(head_of(), b"content"),
        b"\r\n" + body_of(head_of(), b"content"),
        body_of(head_of(), b"one", b"\r\n" + head_of() + b"\r\n\r\ntwo\r\n--" + BOUNDARY + b"--"),
        body_of(head_of(rest=b"\r\nContent-Transfer-Encoding: base64"), b"content"),
        body_of(head_of(rest=b"; filename*=utf-8''other"), b"content"),
        body_of(head_of(rest=b"\r\nContent-Type: a\r\nContent-Type: b"), b"content"),
        body_of(b'Content-Disposition: form-data; name="file"', b"content"),
        body_of(b"Content-Disposition: form-data; name=file; filename=a", b"content"),
        body_of(head_of(filename=b"a%22.png"), b"content"),
        body_of(head_of(filename=b'a\\".png'), b"content"),
        body_of(head_of(filename=b"x" * 9_000), b"content"),
    ],
)
def test_fast_parser_rejects_other_forms(body: bytes) -> None:
    assert parse_single_part(body, BOUNDARY, LIMIT) is None


def test_reading_the_data_keeps_no_second_copy() -> None:
    upload = Upload("file", data=bytearray(b"image"))
    assert upload.read(LIMIT) == b"image"
    assert upload.read(LIMIT) is upload.data


@pytest.mark.parametrize(("size", "oversized"), [(LIMIT, False), (LIMIT + 1, True)])
def test_part_over_limit_is_oversized_without_data(size: int, oversized: bool) -> None:
    body = body_of(head_of(), bytes(size))
    fast = parse_single_part(body, BOUNDARY, LIMIT)
    assert fast is not None
    assert (fast.oversized, len(fast.data)) == (oversized, 0 if oversized else size)
    assert check_fast_parser(body)


@pytest.mark.parametrize("library", ["httpx", "requests"])
@pytest.mark.parametrize("name", ["seven.png", "ünïcödé.png", 'a"b.png', "a\\b.png", "100%.png"])
def test_forms_of_http_libraries_are_parsed_alike(library: str, name: str) -> None:
    files = {"file": (name, b"content\r\n--", "image/png")}
    sent: httpx.Request | requests.PreparedRequest
    if library == "httpx":
        sent = httpx.Request("POST", "http://host/", files=files)
        body = sent.read()
    else:
        sent = requests.Request("POST", "http://host/", files=files).prepare()
        assert isinstance(sent.body, bytes)
        body = sent.body
    form_boundary = parse_boundary(sent.headers["content-type"])
    form = FormParser(form_boundary, LIMIT)
    form.write(body)
    (general,) = form.finish()
    assert bytes(general.data) == b"content\r\n--"
    assert general.filename in {name, name.replace('"', "%22")}
    fast = parse_single_part(body, form_boundary, LIMIT)
    if name == "seven.png":
        assert fast is not None
    assert fast is None or is_same(fast, general)


def test_closed_form_is_freed_without_garbage_collection() -> None:
    """Otherwise forms of 100 MB would accumulate until the next collection."""
    form = FormParser(b"b", 100)
    reference = weakref.ref(form)
    gc.disable()
    try:
        form.close()
        del form
        assert reference() is None
    finally:
        gc.enable()


PLAIN = b'Content-Disposition: form-data; name="file"'


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Disposition: form-data" + b";" * 51,
        b"Content-Disposition: form-data" + b'; a="b"' * 51,
        b"Content-Disposition: form-data" + b"".join(b"; name*%d=a" % i for i in range(51)),
        b'Content-Disposition: form-data; filename="' + b";" * 51 + b'"',
        PLAIN + b"\r\n" + PLAIN,
    ],
)
def test_costly_content_disposition_is_refused(head: bytes) -> None:
    with pytest.raises(MalformedRequestError, match="too many parameters"):
        parse_with_form_parser(body_of(head, b"x"))


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize("preamble", [b"\r\n", b"\n\0-\r\n", b"For old readers --x\r\n"])
def test_preamble_is_skipped_however_it_arrives(preamble: bytes, size: int) -> None:
    body = preamble + body_of(head_of(), b"image")
    form = FormParser(BOUNDARY, LIMIT)
    for start in range(0, len(body), size):
        form.write(body[start : start + size])
    assert [upload.data for upload in form.finish()] == [b"image"]


def test_number_of_parts_is_limited() -> None:
    part = b"--" + BOUNDARY + b"\r\n" + PLAIN + b"\r\n\r\n\r\n"
    for count, is_accepted in ((3, True), (4, False)):
        form = FormParser(BOUNDARY, LIMIT, max_parts=3)
        if is_accepted:
            form.write(part * count)
        else:
            with pytest.raises(MalformedRequestError, match="more than 3 parts"):
                form.write(part * count)


def test_long_content_type_is_not_parsed() -> None:
    boundary = "; boundary=x"
    assert parse_boundary("multipart/form-data" + ";" * 500 + boundary) == b"x"
    with pytest.raises(MalformedRequestError):
        parse_boundary("multipart/form-data" + ";" * 1_000 + boundary)
