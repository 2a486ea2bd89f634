"""Sizes of images that are searched for a digit, and boxes in them."""

import math

from PIL import Image

# Left, top, right, bottom in pixels; right and bottom are exclusive.
Box = tuple[float, float, float, float]

WORK_SIDE = 192  # longest side of the image that is searched, in pixels
STRIP_SIDE = 48  # pixels; more would not be needed to find a digit in a wide, low image
MARGIN = 0.3  # around a digit that is searched again, relative to its longer side


def reduce_image(image: Image.Image) -> Image.Image:
    """Return the image with about WORK_SIDE pixels a side.

    A strip keeps STRIP_SIDE pixels of its shorter side, within the same number of pixels.
    """
    shorter, longer = sorted(image.size)
    factor = -(-longer // WORK_SIDE)
    if factor * STRIP_SIDE > shorter:
        for_area = math.ceil(math.sqrt(shorter * longer) / WORK_SIDE)
        factor = min(factor, max(for_area, shorter // STRIP_SIDE))
    if factor <= 1:
        return image
    # A line of 10,000 x 1 pixels keeps its single pixel of width.
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def surroundings(box: Box, image: Image.Image) -> tuple[int, int, int, int]:
    """Return the box with a margin, within the image."""
    left, top, right, bottom = box
    margin = max(4 * image.width / WORK_SIDE, MARGIN * longer_side(box))
    return (
        max(0, math.floor(left - margin)),
        max(0, math.floor(top - margin)),
        min(image.width, math.ceil(right + margin)),
        min(image.height, math.ceil(bottom + margin)),
    )


def longer_side(box: Box) -> float:
    left, top, right, bottom = box
    return max(right - left, bottom - top)


def move_box(
    box: Box, image: Image.Image, size: tuple[int, int], place: tuple[int, ...] = (0, 0)
) -> Box:
    """Return a box in a copy of `size` of an image, in the pixels of the whole that the image is
    cropped from at `place`.
    """
    x, y = image.width / size[0], image.height / size[1]
    left, top, right, bottom = box
    return (
        place[0] + left * x,
        place[1] + top * y,
        place[0] + right * x,
        place[1] + bottom * y,
    )
