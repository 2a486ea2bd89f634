"""Tests of the images of the benchmark."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.serving.images import create_photo, draw_digit

EXAMPLE = Path(__file__).parents[3] / "frontend" / "examples" / "cat.jpg"


def test_photo_has_requested_file_size() -> None:
    content = create_photo(EXAMPLE, (500, 375), 87_000, seed=3)
    assert abs(len(content) - 87_000) < 8_700
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("JPEG", (500, 375))


def test_photo_depends_on_the_seed_only() -> None:
    first, again, other = (create_photo(EXAMPLE, (200, 150), 20_000, seed=n) for n in (0, 0, 1))
    assert first == again
    assert first != other


def test_digits_differ_and_do_not_change() -> None:
    first, again, other = (draw_digit(n, (60, 60), is_lit_evenly=True).tobytes() for n in (0, 0, 1))
    assert first == again
    assert first != other


def test_digit_is_dark_in_the_middle_of_light_paper() -> None:
    levels = np.asarray(draw_digit(3, (320, 240), is_lit_evenly=True).convert("L"))
    assert levels.shape == (240, 320)
    edge = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    assert edge.min() > 200 > 100 > levels.min()
    assert 0.02 < float((levels < 150).mean()) < 0.3


def test_uneven_light_changes_the_paper() -> None:
    def spread(*, is_lit_evenly: bool) -> float:
        image = draw_digit(3, (240, 240), is_lit_evenly=is_lit_evenly)
        levels = np.asarray(image.convert("L"), np.float32)
        return float(levels[:, (0, -1)].std())

    assert spread(is_lit_evenly=True) < 1 < 10 < spread(is_lit_evenly=False)
