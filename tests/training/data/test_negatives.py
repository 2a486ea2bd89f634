"""Negatives: random images of every kind, reproducible by seed."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from PIL import Image

from backend.inference.preprocessing.digit_crop import DigitPreprocess, find_digit
from training.data import negatives

KINDS = [
    negatives.crop_photograph,
    negatives.draw_dead_leaves,
    negatives.draw_clouds,
    negatives.draw_noise,
    negatives.print_text,
    negatives.print_letter,
    negatives.draw_strokes,
    negatives.draw_shapes,
    negatives.draw_specks,
]


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_kind_differ(kind: Callable[[Generator], Image.Image]) -> None:
    rng = np.random.default_rng(5)
    images = [kind(rng).convert("RGB") for _ in range(20)]
    assert len({image.tobytes() for image in images}) == 20
    assert all(min(image.size) >= 8 for image in images)


def test_letters_do_not_resemble_digits() -> None:
    assert not set(negatives.LETTERS) & set("0123456789IOSZBGlqzobgs")


def test_many_negatives_yield_a_crop_that_is_not_blank() -> None:
    rng = np.random.default_rng(0)
    crops = [find_digit(negatives.draw_negative(rng), DigitPreprocess()) for _ in range(60)]
    assert sum(crop.any() for crop in crops) > 15


def test_same_seed_draws_same_negatives() -> None:
    once, twice = (
        [negatives.draw_negative(rng).tobytes() for _ in range(30)]
        for rng in (np.random.default_rng(1), np.random.default_rng(1))
    )
    assert once == twice
