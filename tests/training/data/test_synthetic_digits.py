"""Synthetic handwriting and print: random digits that fit in the glyph."""

import numpy as np
import pytest

from training.data import synthetic_handwriting, synthetic_print


@pytest.mark.parametrize("digit", range(10))
def test_handwritten_digits_vary(digit: int) -> None:
    rng = np.random.default_rng(digit)
    first, second = (np.asarray(synthetic_handwriting.draw_digit(digit, rng)) for _ in range(2))
    assert first.shape == (128, 128)
    assert first.max() == 255
    assert (first != second).any()


@pytest.mark.parametrize("digit", range(10))
def test_printed_digits_vary_and_are_not_cut_off(digit: int) -> None:
    rng = np.random.default_rng(digit)
    glyphs = [np.asarray(synthetic_print.draw_digit(digit, rng)) for _ in range(30)]
    assert all(glyph.shape == (128, 128) and glyph.max() == 255 for glyph in glyphs)
    assert len({glyph.tobytes() for glyph in glyphs}) > 25
    for glyph in glyphs:
        frame = np.concatenate((glyph[0], glyph[-1], glyph[:, 0], glyph[:, -1]))
        assert not frame.any()


def test_some_ones_are_lines_and_some_zeros_are_rings() -> None:
    rng = np.random.default_rng(0)
    lines = [np.asarray(synthetic_print.draw_digit(1, rng)).any(axis=0).sum() for _ in range(40)]
    assert min(lines) < 20 < max(lines)
    rings = [np.asarray(synthetic_print.draw_digit(0, rng)) for _ in range(40)]
    mirrored = [(glyph == glyph[:, ::-1]).mean() > 0.99 for glyph in rings]
    assert 5 < sum(mirrored) < 40
