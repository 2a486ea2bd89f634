"""Renderings for training: digits stay digits, and the same recipe gives the same pool."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from backend.inference.preprocessing.digits import DigitPreprocess
from training.data import degradation, negatives, regional_styles, synthetic_handwriting
from training.data.digits import NOTHING, Digits
from training.data.rendering import Recipe, build_nothing, build_pool

SPEC = DigitPreprocess()


@pytest.mark.parametrize("digit", range(10))
def test_the_imaginary_pen_writes_every_digit_each_time_another_way(digit: int) -> None:
    rng = np.random.default_rng(digit)
    first, second = (np.asarray(synthetic_handwriting.write(digit, rng)) for _ in range(2))
    assert first.shape == (128, 128)
    assert first.max() == 255
    assert (first != second).any()


@pytest.mark.parametrize("digit", sorted(regional_styles.SHARE))
def test_other_countries_habits_add_ink_and_take_none(digit: int) -> None:
    rng = np.random.default_rng(0)
    glyph = synthetic_handwriting.write(digit, rng)
    before = np.asarray(glyph, dtype=int)
    restyled = [
        np.asarray(regional_styles.restyle(glyph, digit, rng), dtype=int) for _ in range(20)
    ]
    assert any((after > before).any() for after in restyled)
    assert all((after >= before).all() for after in restyled)


def test_a_coarse_scan_is_dark_ink_on_white_paper() -> None:
    rng = np.random.default_rng(0)
    scan = np.asarray(degradation.coarse_scan(synthetic_handwriting.write(3, rng), rng))
    assert scan[0, 0] == 255
    assert scan.min() < 60


def test_a_pool_holds_every_variant_with_its_label_and_is_kept(tmp_path: Path) -> None:
    source = Digits(np.stack([_field(d) for d in (3, 8)]), np.array([3, 8], dtype=np.uint8))
    recipe = Recipe(source, 5, seed=1)
    pool = build_pool(recipe, SPEC, tmp_path, "test", 1)
    assert pool.pixels.shape[1:] == (28, 28)
    assert sorted(set(pool.labels.tolist())) == [3, 8]
    assert 8 <= len(pool) <= 10
    (kept,) = tmp_path.glob("*.npz")
    again = build_pool(recipe, SPEC, tmp_path, "test", 1)
    np.testing.assert_array_equal(again.pixels, pool.pixels)
    kept.unlink()
    fresh = build_pool(recipe, SPEC, tmp_path, "test", 1)
    np.testing.assert_array_equal(fresh.pixels, pool.pixels)


def test_what_the_model_sees_of_pictures_without_a_digit_is_nothing_and_seldom_blank(
    tmp_path: Path,
) -> None:
    pool = build_nothing(60, 0, SPEC, tmp_path, "nothing", 1)
    assert set(pool.labels.tolist()) == {NOTHING}
    blank = ~pool.pixels.any(axis=(1, 2))
    assert 1 <= blank.sum() <= len(pool) / 20
    assert 20 <= len(pool) <= 60


def test_a_pool_that_was_cut_short_is_rendered_again(tmp_path: Path) -> None:
    recipe = Recipe(None, 1, seed=1)
    pool = build_pool(recipe, SPEC, tmp_path, "test", 1)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:500])
    again = build_pool(recipe, SPEC, tmp_path, "test", 1)
    np.testing.assert_array_equal(again.pixels, pool.pixels)
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.stat().st_size > 500


def test_upright_bars_are_not_learnt_as_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bar(_: np.random.Generator) -> Image.Image:
        page = Image.new("RGB", (100, 100), "white")
        ImageDraw.Draw(page).rectangle((46, 10, 54, 90), fill="black")
        return page

    monkeypatch.setattr(negatives, "picture", bar)
    assert len(build_nothing(20, 0, SPEC, tmp_path, "bars", 1)) == 0


def _field(digit: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = synthetic_handwriting.write(digit, np.random.default_rng(digit))
    return np.asarray(picture.resize((28, 28)), dtype=np.uint8)
