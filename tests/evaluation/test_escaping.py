"""What anybody may have put into a name, written and shown."""

import os

import pytest

from evaluation.text import encodable, printable


def test_a_name_that_is_not_utf_8_is_shown_with_its_bytes() -> None:
    assert encodable(os.fsdecode(b"7/x\xff.png")) == r"7/x\xff.png"
    assert encodable("lone \ud83d") == r"lone \ud83d"


@pytest.mark.parametrize("name", ["7/a.png", "Käse 数 😀", "a\nb\x1b", r"a\b"])
def test_what_utf_8_holds_is_left_as_it_is(name: str) -> None:
    assert encodable(name) == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\r", r"a\x0ab\x0d"),
        ("a\x9bb\x7f", r"a\x9bb\x7f"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("a\uffffb\udcff", r"a\uffffb\xff"),
        ("Käse 数 😀", "Käse 数 😀"),
    ],
)
def test_what_is_hidden_is_shown_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
