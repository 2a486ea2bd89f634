"""The request bodies."""

import io
from pathlib import Path

from PIL import Image

from benchmarks.serving.assets import photograph

EXAMPLE = Path(__file__).parents[3] / "frontend" / "examples" / "cat.jpg"


def test_a_photograph_has_the_size_of_a_real_ones_file() -> None:
    data = photograph(EXAMPLE, (500, 375), 87_000, seed=3)
    assert abs(len(data) - 87_000) < 8_700
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (500, 375))


def test_the_same_seed_makes_the_same_file_and_another_one_another() -> None:
    first, again, other = (photograph(EXAMPLE, (200, 150), 20_000, seed=n) for n in (0, 0, 1))
    assert first == again
    assert first != other
