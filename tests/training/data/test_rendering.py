"""Rendering is reproducible and cached; degradations and regional styles preserve the digit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from backend.inference.preprocessing.digit_crop import DigitPreprocess
from training.data import degradation, negatives, regional_styles, synthetic_handwriting
from training.data.digits import NEGATIVE, Digits
from training.data.rendering import RenderingConfig, render_digits, render_negatives

SPEC = DigitPreprocess()


@pytest.mark.parametrize("digit", sorted(regional_styles.RESTYLED_SHARE))
def test_regional_styles_only_add_ink(digit: int) -> None:
    rng = np.random.default_rng(0)
    glyph = synthetic_handwriting.draw_digit(digit, rng)
    before = np.asarray(glyph, dtype=int)
    restyled = [
        np.asarray(regional_styles.restyle(glyph, digit, rng), dtype=int) for _ in range(20)
    ]
    assert any((after > before).any() for after in restyled)
    assert all((after >= before).all() for after in restyled)


def test_coarse_scan_is_dark_on_white() -> None:
    rng = np.random.default_rng(0)
    scan = np.asarray(degradation.render_coarse_scan(synthetic_handwriting.draw_digit(3, rng), rng))
    assert scan[0, 0] == 255
    assert scan.min() < 60


def test_rendered_digits_are_labeled_and_cached(tmp_path: Path) -> None:
    source = Digits(np.stack([_draw_pixels(d) for d in (3, 8)]), np.array([3, 8], dtype=np.uint8))
    config = RenderingConfig(source, 5, seed=1)
    digits = render_digits(config, SPEC, tmp_path, "test", 1)
    assert digits.pixels.shape[1:] == (28, 28)
    assert sorted(set(digits.labels.tolist())) == [3, 8]
    assert 8 <= len(digits) <= 10
    (cached,) = tmp_path.glob("*.npz")
    again = render_digits(config, SPEC, tmp_path, "test", 1)
    np.testing.assert_array_equal(again.pixels, digits.pixels)
    cached.unlink()
    fresh = render_digits(config, SPEC, tmp_path, "test", 1)
    np.testing.assert_array_equal(fresh.pixels, digits.pixels)


def test_negatives_are_labeled_negative_and_few_are_blank(tmp_path: Path) -> None:
    digits = render_negatives(60, 0, SPEC, tmp_path, "negatives", 1)
    assert set(digits.labels.tolist()) == {NEGATIVE}
    blank = ~digits.pixels.any(axis=(1, 2))
    assert 1 <= blank.sum() <= len(digits) / 20
    assert 20 <= len(digits) <= 60


def test_truncated_cache_file_is_rendered_again(tmp_path: Path) -> None:
    config = RenderingConfig(None, 1, seed=1)
    digits = render_digits(config, SPEC, tmp_path, "test", 1)
    (cached,) = tmp_path.iterdir()
    cached.write_bytes(cached.read_bytes()[:500])
    again = render_digits(config, SPEC, tmp_path, "test", 1)
    np.testing.assert_array_equal(again.pixels, digits.pixels)
    assert list(tmp_path.iterdir()) == [cached]
    assert cached.stat().st_size > 500


def test_upright_bars_are_not_negatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw_bar(_: np.random.Generator) -> Image.Image:
        page = Image.new("RGB", (100, 100), "white")
        ImageDraw.Draw(page).rectangle((46, 10, 54, 90), fill="black")
        return page

    monkeypatch.setattr(negatives, "draw_negative", draw_bar)
    assert len(render_negatives(20, 0, SPEC, tmp_path, "bars", 1)) == 0


def _draw_pixels(digit: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = synthetic_handwriting.draw_digit(digit, np.random.default_rng(digit))
    return np.asarray(image.resize((28, 28)), dtype=np.uint8)
