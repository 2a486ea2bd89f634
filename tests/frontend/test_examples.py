"""The example images."""

from io import BytesIO

import pytest
from PIL import Image

from client import Client
from frontend import examples

DIGITS = {"two": "2", "three": "3", "four": "4", "five": "5", "seven": "7", "eight": "8"}


@pytest.mark.parametrize("example", examples.load("digit"), ids=lambda example: str(example.name))
def test_every_example_digit_is_classified_correctly(
    backend_url: str, example: examples.Example
) -> None:
    digit = DIGITS[example.name.removesuffix(".png")]
    assert digit in example.description
    with Client(backend_url) as client:
        assert client.classify(example.content, filename=example.name).prediction == digit


def test_examples_of_other_models_are_photos() -> None:
    photos = examples.load("image")
    assert {example.name for example in photos}.isdisjoint(
        example.name for example in examples.load("digit")
    )
    for example in photos:
        assert example.media_type == "image/jpeg"
        assert max(Image.open(BytesIO(example.content)).size) <= 400


def test_automatic_choice_has_digits_and_photos() -> None:
    assert {example.media_type for example in examples.load("auto")} == {"image/png", "image/jpeg"}
