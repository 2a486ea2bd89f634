"""Digits in print: of many faces, without a tremble, and each of them whole."""

import numpy as np
import pytest

from training.data import synthetic_print


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_is_printed_each_time_another_way_and_never_cut_off(digit: int) -> None:
    rng = np.random.default_rng(digit)
    glyphs = [np.asarray(synthetic_print.write(digit, rng)) for _ in range(30)]
    assert all(glyph.shape == (128, 128) and glyph.max() == 255 for glyph in glyphs)
    assert len({glyph.tobytes() for glyph in glyphs}) > 25
    for glyph in glyphs:
        frame = np.concatenate((glyph[0], glyph[-1], glyph[:, 0], glyph[:, -1]))
        assert not frame.any()


def test_some_ones_are_a_line_and_some_zeros_a_ring() -> None:
    rng = np.random.default_rng(0)
    lines = [np.asarray(synthetic_print.write(1, rng)).any(axis=0).sum() for _ in range(40)]
    assert min(lines) < 20 < max(lines)
    rings = [np.asarray(synthetic_print.write(0, rng)) for _ in range(40)]
    mirrored = [(glyph == glyph[:, ::-1]).mean() > 0.99 for glyph in rings]
    assert 5 < sum(mirrored) < 40
