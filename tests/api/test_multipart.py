"""The short way through a form of one picture gives what the long way gives, or leaves it."""

import gc
import weakref

import httpx
import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.api.multipart import Form, Upload, boundary, only_part

LIMIT = 10_000
BOUNDARY = b"x-boundary"
# What forms are made of, so that random bytes come close to one.
PIECES = [b"\r\n", b"--", b"-", b"\r", b"\n", BOUNDARY, b"\r\n--" + BOUNDARY, b"\0", b"\xff", b'"']
NEARLY = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def long_way(body: bytes, limit: int = LIMIT) -> list[Upload]:
    form = Form(BOUNDARY, limit)
    form.write(body)
    return form.finish()


def body_of(head: bytes, content: bytes, end: bytes = b"--\r\n") -> bytes:
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n--" + BOUNDARY + end


def head_of(filename: bytes = b"a.png", name: bytes = b"file", rest: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="%b"; filename="%b"%b' % (name, filename, rest)


def same(one: Upload, other: Upload) -> bool:
    """Whether both have the same name, file name, bytes and verdict on their size."""
    return (one.name, one.filename, bytes(one.data), one.oversized) == (
        other.name,
        other.filename,
        bytes(other.data),
        other.oversized,
    )


def agrees(body: bytes, limit: int = LIMIT) -> bool:
    """Whether the short way took the form; fails where it took it for another one."""
    short = only_part(body, BOUNDARY, limit)
    if short is None:
        return False
    (long,) = long_way(body, limit)
    assert same(short, long)
    return True


@settings(max_examples=500, deadline=None)
@given(content=NEARLY, end=st.sampled_from([b"--\r\n", b"--"]))
@example(content=b"\r\n--" + BOUNDARY, end=b"--")
@example(content=b"", end=b"--\r\n")
def test_any_content_is_taken_as_it_is(content: bytes, end: bytes) -> None:
    plain = b"\r\n--" + BOUNDARY not in content
    assert agrees(body_of(head_of(), content, end)) or not plain


@settings(max_examples=500, deadline=None)
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
def test_any_name_is_read_as_the_long_way_reads_it(filename: bytes, name: bytes) -> None:
    agrees(body_of(head_of(filename, name), b"content"))


@pytest.mark.parametrize(
    "rest",
    [
        b"\r\nContent-Type: image/png",
        b"\r\ncontent-type: text/plain; charset=utf-8; filename=other",
        b"\r\nContent-Type: ",
    ],
)
def test_a_type_may_follow(rest: bytes) -> None:
    assert agrees(body_of(head_of(rest=rest), b"content"))


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
def test_any_other_form_is_left_to_the_long_way(body: bytes) -> None:
    assert only_part(body, BOUNDARY, LIMIT) is None


@pytest.mark.parametrize(("size", "oversized"), [(LIMIT, False), (LIMIT + 1, True)])
def test_one_byte_too_many_is_oversized_and_not_kept(size: int, oversized: bool) -> None:
    body = body_of(head_of(), bytes(size))
    short = only_part(body, BOUNDARY, LIMIT)
    assert short is not None
    assert (short.oversized, len(short.data)) == (oversized, 0 if oversized else size)
    assert agrees(body)


@pytest.mark.parametrize("library", ["httpx", "requests"])
@pytest.mark.parametrize("name", ["seven.png", "ünïcödé.png", 'a"b.png', "a\\b.png", "100%.png"])
def test_what_libraries_send_is_read_alike(library: str, name: str) -> None:
    files = {"file": (name, b"content\r\n--", "image/png")}
    sent: httpx.Request | requests.PreparedRequest
    if library == "httpx":
        sent = httpx.Request("POST", "http://host/", files=files)
        body = sent.read()
    else:
        sent = requests.Request("POST", "http://host/", files=files).prepare()
        assert isinstance(sent.body, bytes)
        body = sent.body
    mark = boundary(sent.headers["content-type"])
    form = Form(mark, LIMIT)
    form.write(body)
    (long,) = form.finish()
    assert bytes(long.data) == b"content\r\n--"
    assert long.filename in {name, name.replace('"', "%22")}
    short = only_part(body, mark, LIMIT)
    if name == "seven.png":
        assert short is not None
    assert short is None or same(short, long)


def test_a_form_is_let_go_of_at_once() -> None:
    """Not only when a collection comes along: forms of 100 MB would pile up until then."""
    form = Form(b"b", 100)
    known = weakref.ref(form)
    gc.disable()
    try:
        form.close()
        del form
        assert known() is None
    finally:
        gc.enable()
