"""Tests of backend URLs."""

import pytest

from client import Client, base_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        (" https://prism.example/ ", "https://prism.example"),
        ("http://host/below//", "http://host/below"),
        ("HTTP://[::1]:80", "HTTP://[::1]:80"),
        ("http://bücher.example", "http://bücher.example"),
    ],
)
def test_whitespace_and_trailing_slashes_are_removed(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://a b",
        "http://a\x01b",
        "http://a..b",
        f"http://{'a' * 64}.example",
        "http://a:99999",
        "http://[::1",
        "http://host/?x=1",
        "http://host/#part",
        "http://user:secret@host",
    ],
)
def test_invalid_url_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(text)


def test_error_message_does_not_contain_the_password() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        base_url("http://user:secret@host")
    assert "secret" not in str(caught.value)
