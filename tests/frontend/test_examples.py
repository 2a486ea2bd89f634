"""The pictures to click."""

import pytest

from client import Client
from frontend import examples

DIGITS = {"two": "2", "three": "3", "four": "4", "five": "5", "seven": "7", "eight": "8"}


@pytest.mark.parametrize("example", examples.load(), ids=lambda example: str(example.name))
def test_every_example_is_read_as_what_it_shows(
    backend_url: str, example: examples.Example
) -> None:
    digit = DIGITS[example.name.removesuffix(".png")]
    assert digit in example.says
    with Client(backend_url) as client:
        assert client.classify(example.png, filename=example.name).prediction == digit
