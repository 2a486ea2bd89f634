"""Pictures without a digit: of every kind, of all sizes, and the same for the same seed."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from PIL import Image

from backend.inference.preprocessing.digits import DigitPreprocess, find_digit
from training.data import negatives

KINDS = [
    negatives.photograph,
    negatives.leaves,
    negatives.clouds,
    negatives.noise,
    negatives.text,
    negatives.letter,
    negatives.drawing,
    negatives.block,
    negatives.specks,
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_another_picture_each_time(kind: Callable[[Generator], Image.Image]) -> None:
    rng = np.random.default_rng(5)
    made = [kind(rng).convert("RGB") for _ in range(20)]
    assert len({picture.tobytes() for picture in made}) == 20
    assert all(min(picture.size) >= 8 for picture in made)


def test_a_letter_is_no_digit() -> None:
    assert not set(negatives.LETTERS) & set("0123456789IOSZBGlqzobgs")


def test_most_pictures_leave_something_to_be_taken_for_a_digit() -> None:
    rng = np.random.default_rng(0)
    fields = [find_digit(negatives.picture(rng), DigitPreprocess()) for _ in range(60)]
    assert sum(field.any() for field in fields) > 30


def test_the_same_seed_gives_the_same_pictures() -> None:
    once, twice = (
        [negatives.picture(rng).tobytes() for _ in range(30)]
        for rng in (np.random.default_rng(1), np.random.default_rng(1))
    )
    assert once == twice
