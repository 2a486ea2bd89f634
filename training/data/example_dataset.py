"""The example dataset of the Evaluate and Compare pages.

    .venv/bin/python -m training.data.example_dataset frontend/examples/digits.zip

300 handwritten digits, 30 of each, in class folders. They are drawn by `synthetic_handwriting` and
`degradation`; nothing comes from a dataset, so the file has the license of this repository.
"""

import argparse
import io
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.random import Generator
from PIL import Image

from training.data import degradation, synthetic_handwriting

PER_DIGIT: Final = 30
MAX_SIDE: Final = 56  # px; keeps the file small
GRAY_LEVELS: Final = 16
SEED: Final = 20_251
COARSE_SHARE: Final = 0.3  # of the images; the others are pen on paper


def write_dataset(path: Path, per_digit: int = PER_DIGIT) -> None:
    """Write the zip; the same code and libraries write the same bytes."""
    rng = np.random.default_rng(SEED)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for digit in range(10):
            for number in range(per_digit):
                entry = ZipInfo(f"{digit}/{number:02d}.png")  # with a fixed time
                archive.writestr(entry, _encode(_draw(digit, rng)))


def _draw(digit: int, rng: Generator) -> Image.Image:
    """Return an image of the digit in mode L: another hand, pen and paper each time."""
    glyph = degradation.distort(synthetic_handwriting.draw_digit(digit, rng), rng)
    if rng.random() < 0.5:
        glyph = degradation.change_stroke_width(glyph, rng)
    if rng.random() < COARSE_SHARE:
        return degradation.render_coarse_scan(glyph, rng)
    return degradation.render_pen_on_paper(glyph, rng)


def _encode(image: Image.Image) -> bytes:
    """Return a small PNG of the image."""
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    image.quantize(GRAY_LEVELS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        "python -m training.data.example_dataset",
        description="Write the example dataset of the Evaluate and Compare pages.",
    )
    parser.add_argument("path", type=Path, help="the zip to write")
    write_dataset(parser.parse_args().path)
