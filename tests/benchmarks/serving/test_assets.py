"""Tests of the images of the benchmark."""

import io
from pathlib import Path

from PIL import Image

from benchmarks.serving.assets import create_photo

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
