"""The quick segmentation accepts plain paper only, and needs no network there."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.inference.preprocessing import plain_paper, scene
from backend.inference.preprocessing.digit_crop import DigitPreprocess, find_digit
from backend.inference.preprocessing.strokes import Strokes
from tests.images import seven

MIN_CONTRAST = 20.0


def segment(image: Image.Image) -> Strokes | None:
    return plain_paper.segment(np.asarray(image.convert("L")), MIN_CONTRAST)


@pytest.mark.parametrize("size", [12, 28, 64, 120])
@pytest.mark.parametrize(("ink", "paper"), [("black", "white"), ("#ddd", "#234")])
def test_strokes_on_plain_paper_are_found(size: int, ink: str, paper: str) -> None:
    strokes = segment(seven(size, ink=ink, paper=paper))
    assert strokes is not None
    left, top, right, bottom = strokes.box
    assert strokes.ink.shape == (bottom - top, right - left)
    assert strokes.ink.max() == 255
    assert strokes.ood_penalty == pytest.approx(0, abs=0.4)


def test_full_strokes_are_255_and_paper_is_0_at_any_contrast() -> None:
    strong, weak = segment(seven(120)), segment(seven(120, ink="#888", paper="#bbb"))
    assert strong is not None
    assert weak is not None
    assert strong.box == weak.box
    assert np.abs(strong.ink.astype(int) - weak.ink).max() <= 12


def shade(page: NDArray[np.uint8]) -> None:
    page[:] = page * np.linspace(1.0, 0.55, page.shape[1])


def rule(page: NDArray[np.uint8]) -> None:
    page[15::20] = np.minimum(page[15::20], 230)


def rule_upright(page: NDArray[np.uint8]) -> None:
    page[:, 15::20] = np.minimum(page[:, 15::20], 230)


def add_speck(page: NDArray[np.uint8]) -> None:
    page[2:5, 2:5] = 0


def frame(page: NDArray[np.uint8]) -> None:
    page[4:-4, (4, 5, -6, -5)] = 0
    page[(4, 5, -6, -5), 4:-4] = 0


def cover(page: NDArray[np.uint8]) -> None:
    page[:30, :30] = 0


@pytest.mark.parametrize("change", [shade, rule, rule_upright, add_speck, frame, cover])
def test_other_paper_is_left_to_the_network(change: Callable[[NDArray[np.uint8]], None]) -> None:
    page = np.array(seven(160).convert("L"))
    assert plain_paper.segment(page, MIN_CONTRAST) is not None
    change(page)
    assert plain_paper.segment(page, MIN_CONTRAST) is None


@pytest.mark.parametrize("width", [1, 2, 8])
def test_border_of_the_image_is_left_out(width: int) -> None:
    page = np.array(seven(160).convert("L"))
    plain = plain_paper.segment(page, MIN_CONTRAST)
    for rows in (np.s_[:width], np.s_[-width:]):
        page[rows] = page[:, rows] = 0
    bordered = plain_paper.segment(page, MIN_CONTRAST)
    assert plain is not None
    assert bordered is not None
    assert bordered.box == plain.box
    np.testing.assert_array_equal(bordered.ink, plain.ink)


def test_sheet_on_a_desk_is_left_to_the_network() -> None:
    desk = Image.new("L", (160, 160), 40)
    desk.paste(seven(100).convert("L"), (30, 30))
    assert segment(desk) is None


def test_scene_around_the_strokes_adds_a_penalty() -> None:
    page = seven(120, paper="#999").convert("L")
    pen = ImageDraw.Draw(page)
    for x in range(8, 110, 12):
        pen.ellipse((x, 6, x + 9, 15), fill=220)  # lighter than the paper, as no ink is
    strokes = segment(page)
    assert strokes is not None
    assert strokes.ood_penalty > 0.4


@pytest.mark.parametrize("size", [28, 240, 1500])
def test_plain_paper_needs_no_network(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "find_in_scene", None)
    assert find_digit(seven(size), DigitPreprocess()).any()
