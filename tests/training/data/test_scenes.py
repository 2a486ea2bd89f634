"""Scenes show a digit in its surroundings; the mask is that of its strokes alone."""

import numpy as np
import pytest

from training.data import scenes, synthetic_handwriting
from training.data.digits import Digits


def draw_digits() -> Digits:
    rng = np.random.default_rng(0)
    glyphs = [synthetic_handwriting.draw_digit(digit, rng).resize((28, 28)) for digit in range(10)]
    return Digits(np.stack([np.asarray(glyph) for glyph in glyphs]), np.arange(10, dtype=np.uint8))


def draw(count: int, seed: int = 0) -> list[scenes.Scene]:
    rng, digits = np.random.default_rng(seed), (draw_digits(),)
    return [scenes.draw_scene(digits, rng) for _ in range(count)]


def test_scenes_have_levels_and_a_mask_of_the_same_shape() -> None:
    for scene in draw(60):
        assert 0 <= scene.image.min() <= scene.image.max() <= 255
        if scene.mask is not None:
            assert scene.image.shape == scene.mask.shape
            assert 0 <= scene.mask.min() <= scene.mask.max() <= 1.001


def test_scenes_are_reproducible() -> None:
    for one, other in zip(draw(20, seed=3), draw(20, seed=3), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_most_scenes_have_a_digit_and_some_have_none_or_other_strokes() -> None:
    masks = [scene.mask for scene in draw(200)]
    assert 1 <= sum(mask is None for mask in masks) <= 40
    assert 10 <= sum(mask is not None and not mask.any() for mask in masks) <= 60
    assert sum(mask is not None and mask.max() > 0.9 for mask in masks) >= 110


@pytest.mark.parametrize("seed", range(3))
def test_light_is_a_factor(seed: int) -> None:
    light = scenes.draw_light((40, 30), np.random.default_rng(seed))
    assert light.shape == (30, 40)
    assert 0 < light.min() <= light.max() <= 1
