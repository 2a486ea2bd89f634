"""Tests of escaping names and labels."""

import os

import pytest

from evaluation.escaping import (
    escape_formula,
    escape_unencodable,
    escape_unprintable,
    unescape_formula,
)
from tests.formula_cells import FORMULAS, PLAIN_TEXT


def test_bytes_that_are_not_utf_8_are_escaped() -> None:
    assert escape_unencodable(os.fsdecode(b"7/x\xff.png")) == r"7/x\xff.png"
    assert escape_unencodable("lone \ud83d") == r"lone \ud83d"


@pytest.mark.parametrize("name", ["7/a.png", "Käse 数 😀", "a\nb\x1b", r"a\b"])
def test_encodable_text_is_unchanged(name: str) -> None:
    assert escape_unencodable(name) == name


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\r", r"a\x0ab\x0d"),
        ("a\x9bb\x7f", r"a\x9bb\x7f"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("a\uffffb\udcff", r"a\uffffb\xff"),
        ("Käse 数 😀", "Käse 数 😀"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape_unprintable(text) == escaped


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_escaped(text: str) -> None:
    assert escape_formula(text) == f"'{text}"
    assert unescape_formula(escape_formula(text)) == text


@pytest.mark.parametrize("text", PLAIN_TEXT)
def test_text_that_is_not_a_formula_is_unchanged(text: str) -> None:
    assert escape_formula(text) == unescape_formula(text) == text
