"""Segmentation of the strokes of a digit from paper, for any paper, pen and lighting.

A digit on plain paper is found by `plain_paper`, all others by the network of `scene`.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops

from backend.inference.preprocessing import plain_paper, scene
from backend.inference.preprocessing.strokes import (
    Strokes,
    longer_side,
    move_box,
    reduce_image,
    surroundings,
    to_array,
)

FINE_SIDE = 56  # a digit with fewer pixels is searched again at a higher resolution, if available

_MIN_COLOR = 24  # levels between the channels of a colored image
_CLEAR_CONTRAST = 160  # levels of green; with so many, another direction shows hardly more
_PAPER_LEVEL = 215.0  # gray level of the paper in a colored image
_THUMBNAIL_SIDE = 32

ToGray = Callable[[Image.Image], Image.Image]


def find_strokes(image: Image.Image, min_contrast: float) -> Strokes | None:
    """Return the strokes in an image of any size and mode, or None if nothing is written.

    Ink has to differ from its paper by at least `min_contrast` levels of 255.
    """
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    reduced = reduce_image(image)
    to_gray = find_gray(reduced)
    gray = to_array(to_gray(reduced))
    if int(gray.max()) - int(gray.min()) < min_contrast:
        return None
    strokes = plain_paper.segment(gray, min_contrast)
    if strokes is None:
        return scene.find_in_scene(image, reduced)
    side = longer_side(strokes.box)
    strokes.box = move_box(strokes.box, image, reduced.size)
    if reduced is image or side >= FINE_SIDE:
        return strokes
    area = surroundings(strokes.box, image)
    part = image.crop(area)
    reduced = reduce_image(part)
    fine = plain_paper.segment(to_array(to_gray(reduced)), min_contrast)
    if fine is None:
        return strokes
    return Strokes(fine.ink, move_box(fine.box, part, reduced.size, area), strokes.ood_penalty)


def find_gray(image: Image.Image) -> ToGray:
    """Return a function that turns an image of mode L or RGB, and parts of it, into mode L.

    Ink and paper differ most in it. Colored ink becomes darker than its paper, and all that is
    lighter than paper becomes white.
    """
    if image.mode == "L":
        return lambda part: part
    red, green, blue = image.split()
    darkest, lightest = _extrema(green)
    is_clear = lightest - darkest >= _CLEAR_CONTRAST
    if is_clear or max(_difference(red, green), _difference(green, blue)) < _MIN_COLOR:
        return lambda part: part.getchannel("G")
    thumbnail = image.reduce(-(-max(image.size) // _THUMBNAIL_SIDE))
    pixels = np.asarray(thumbnail, dtype=np.float32)
    edge = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    edge.sort(axis=0)
    paper = edge[len(edge) // 2]
    from_paper = (pixels - paper).reshape(-1, 3)
    distance = np.abs(from_paper).max(axis=1)
    direction = from_paper[distance >= 0.6 * distance.max()].mean(axis=0)
    length = float(np.linalg.norm(direction))
    if length < _MIN_COLOR:  # no single direction leads from paper to ink
        return lambda part: part.convert("L")
    direction /= -length
    direction *= min(1.0, -_PAPER_LEVEL / float((from_paper @ direction).min()))
    matrix = (*direction.tolist(), _PAPER_LEVEL - float(direction @ paper))
    return lambda part: part.convert("L", matrix)


def _difference(one: Image.Image, other: Image.Image) -> int:
    """Return the largest difference between two channels."""
    return _extrema(ImageChops.difference(one, other))[1]


def _extrema(channel: Image.Image) -> tuple[int, int]:
    lowest, highest = channel.getextrema()
    assert isinstance(lowest, int | float)  # noqa: S101  (one channel)
    assert isinstance(highest, int | float)  # noqa: S101
    return int(lowest), int(highest)
