"""Addresses of a backend."""

import pytest

from client import Client, base_url


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        (" https://prism.example/ ", "https://prism.example"),
        ("http://host/below//", "http://host/below"),
        ("HTTP://[::1]:80", "HTTP://[::1]:80"),
    ],
)
def test_an_address_is_kept_without_blanks_and_slashes(given: str, kept: str) -> None:
    assert base_url(given) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://a b",
        "http://a:99999",
        "http://[::1",
        "http://host/?x=1",
        "http://host/#part",
        "http://user:secret@host",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(text)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        base_url("http://user:secret@host")
    assert "secret" not in str(caught.value)
