"""Segmentation of the strokes of a digit in a scene, by a small network.

A scene is all that is not plain paper: a digit in uneven light, on ruled paper, in a frame, on a
sheet on a desk, among other marks. `training/segmentation.py` trains the network.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from backend.inference.preprocessing import plain_paper
from backend.inference.preprocessing.strokes import (
    Strokes,
    dilate,
    longer_side,
    move_box,
    reduce_image,
    surroundings,
    to_array,
)

NETWORK = Path(__file__).with_name("scene.onnx")

_SIDE = 96  # of the square that the network searches, in pixels; other shapes have the same area
_STEP = 32  # both sides of the network's input are multiples of it
# The network searches the surroundings of a digit again if its longer side takes less than this
# share of the image, or less than the second one on clear paper.
_LARGE_SHARE, _MEDIUM_SHARE = 0.66, 0.48
_CLEAR_PENALTY = 0.3  # log-odds
# Share of the contrast that counts as ink, by the amount of strokes at or next to a pixel.
_GATE = ((np.arange(256, dtype=np.float32) - 48) / 80).clip(0, 1)
_STROKE = round(255 * plain_paper.INK_THRESHOLD)
_FAINT_STROKE = 52  # of 255; enough to find where a digit is
_MIN_PART = 0.06  # share of the strokes; a smaller part beside the digit does not belong to it
# The network is less certain of the strokes in images without a digit.
_MIN_CERTAINTY = 0.65  # mean amount of strokes, weighted by itself
_DOUBT_WEIGHT = 20.0  # in log-odds per unit of certainty that is missing
_SMALL_DIGIT_PENALTY = 2.0  # in log-odds; what is hardly visible in the whole is rarely a digit
_MAX_STRETCH = 4.0  # of the width or height of the network's input
_PRIOR = np.float32(8)  # of 255: weight of the wider surroundings in the paper of a cell

Levels = NDArray[np.uint8]


def find_in_scene(image: Image.Image, reduced: Image.Image) -> Strokes | None:
    """Return the strokes that the network finds in an image and its reduced copy."""
    gray = reduced.convert("L")
    for side in (_SIDE, 2 * _SIDE):  # a small digit may need the second one
        size = _network_size(gray, side)
        levels, strokes = _run(gray, size)
        box = _box(strokes, strokes, _FAINT_STROKE)
        if box is not None:
            break
    else:
        return None
    area, part = (0, 0, *image.size), image
    ink, penalty = _measure_ink(levels, strokes)
    share = longer_side(box) * side / (max(size) * _SIDE)
    if share < _LARGE_SHARE and not (share >= _MEDIUM_SHARE and penalty < _CLEAR_PENALTY):
        area = surroundings(move_box(box, image, size), image)
        part = image.crop(area)
        gray = reduce_image(part).convert("L")
        size = _network_size(gray, _SIDE)
        levels, strokes = _run(gray, size)
        ink, penalty = _measure_ink(levels, strokes)
    box = _box(ink, strokes, _STROKE)
    if box is None:
        return None
    left, top, right, bottom = box
    if min(image.size) < plain_paper.MIN_RULED_SIDE:
        penalty = 0.0
    elif side > _SIDE:
        penalty += _SMALL_DIGIT_PENALTY
    return Strokes(ink[top:bottom, left:right], move_box(box, part, size, area), penalty)


def _run(gray: Image.Image, size: tuple[int, int]) -> tuple[Levels, Levels]:
    """Return the levels that the network gets (H, W), and the strokes that it finds, 0-255."""
    levels = to_array(gray.resize(size, Image.Resampling.BILINEAR))
    (strokes,) = _session().run(None, {"levels": levels[np.newaxis]})
    return levels, strokes[0]


def _measure_ink(levels: Levels, strokes: Levels) -> tuple[Levels, float]:
    """Return the amount of ink (H, W) near the strokes that the network found, and the log-odds
    that they are those of something else than a digit.

    The network knows where the strokes are; the contrast to the paper around them is sharper.
    """
    is_stroke = strokes >= 128
    if not is_stroke.any():
        return np.zeros_like(strokes), 0.0
    near = dilate(strokes, 1)
    contrast = _paper(levels, near < _STROKE)
    contrast -= levels
    inked = contrast[is_stroke]
    if inked.sum() < 0:
        np.negative(contrast, out=contrast)
        np.negative(inked, out=inked)
    eightieth = int(0.8 * len(inked))
    full = max(1.0, float(np.partition(inked, eightieth)[eightieth]))
    outside = contrast[dilate(near, 1) < _STROKE]
    clutter = float(np.abs(outside, out=outside).sum()) / (full * levels.size)
    certainty = float(np.square(strokes, dtype=np.float32).sum()) / (255 * int(strokes.sum()))
    penalty = plain_paper.CLUTTER_WEIGHT * clutter
    penalty += _DOUBT_WEIGHT * max(0.0, _MIN_CERTAINTY - certainty)
    contrast -= np.float32(0.06 * full)
    contrast *= np.float32(255 / (0.94 * full))
    contrast *= _GATE.take(near)
    np.maximum(contrast, 0, out=contrast)
    np.minimum(contrast, 255, out=contrast)
    return contrast.astype(np.uint8), penalty


def _paper(levels: Levels, is_paper: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the level of the paper at each pixel (H, W), interpolated below the strokes.

    It is the mean of the paper in cells of 8x8 pixels, and of wider surroundings where a cell shows
    hardly any.
    """
    weights = is_paper.view(np.uint8) * np.uint8(255)
    shares, sums = (
        to_array(Image.fromarray(values).reduce(8)).astype(np.float32)
        for values in (weights, np.minimum(levels, weights))
    )
    wide_shares, wide_sums = _blocks(shares), _blocks(sums)
    mean = 255 * wide_sums.sum() / max(float(wide_shares.sum()), 1.0)
    wide = (255 * wide_sums + 16 * _PRIOR * mean) / (wide_shares + 16 * _PRIOR)
    paper = (255 * sums + _PRIOR * wide.repeat(4, 0).repeat(4, 1)) / (shares + _PRIOR)
    height, width = levels.shape
    return np.array(Image.fromarray(paper).resize((width, height), Image.Resampling.BILINEAR))


def _blocks(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums of blocks of 4x4 values: (H, W) -> (H / 4, W / 4)."""
    height, width = values.shape
    sums: NDArray[np.float32] = values.reshape(height // 4, 4, width // 4, 4).sum(axis=(1, 3))
    return sums


def _box(ink: Levels, strokes: Levels, least: int) -> tuple[int, int, int, int] | None:
    """Return the box around the ink (H, W) of at `least` this amount, or None if there is none.

    Faint parts beside the digit are left out: an underline, the edge of a sheet. `strokes` (H, W)
    tells how certain the network is.
    """
    inked = ink >= least
    rows, columns = _span(inked, axis=1), _span(inked, axis=0)
    if rows is None or columns is None:
        weights = np.square(strokes, dtype=np.float32)
        rows = _main_span(inked, weights, axis=1)
        if rows is None:
            return None
        top, bottom = rows
        columns = _main_span(inked[top:bottom], weights[top:bottom], axis=0)
        if columns is None:
            return None
        # What was left out at the sides may have been all of a row.
        part = np.s_[top:bottom, columns[0] : columns[1]]
        kept = _main_span(inked[part], weights[part], axis=1)
        if kept is None:
            return None
        rows = top + kept[0], top + kept[1]
    return columns[0], rows[0], columns[1], rows[1]


def _span(inked: NDArray[np.bool_], axis: int) -> tuple[int, int] | None:
    """Return the span of the rows or columns with ink; None if there is a gap or no ink."""
    present = np.logical_or.reduce(inked, axis=axis).tobytes()
    first, last = present.find(1), present.rfind(1) + 1
    return None if not last or present.find(0, first, last) >= 0 else (first, last)


def _main_span(
    inked: NDArray[np.bool_], weights: NDArray[np.float32], axis: int
) -> tuple[int, int] | None:
    """Return the span of the rows or columns with ink, without faint parts at its ends."""
    present = np.logical_or.reduce(inked, axis=axis)
    weights = weights.sum(axis=axis)
    steps = np.diff(present.astype(np.int8), prepend=0, append=0)
    starts, ends = (steps == 1).nonzero()[0].tolist(), (steps == -1).nonzero()[0].tolist()
    if not starts:
        return None
    if len(starts) > 1:
        sums = [float(weights[first:last].sum()) for first, last in zip(starts, ends, strict=True)]
        kept = [index for index, each in enumerate(sums) if each >= _MIN_PART * sum(sums)]
        return starts[kept[0]], ends[kept[-1]]
    return starts[0], ends[0]


def load_network() -> None:
    """Load the network, which the first scene would otherwise do."""
    _session()


@cache
def _session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])


def _network_size(image: Image.Image, side: int) -> tuple[int, int]:
    """Return the width and height of the network's input: about the area of a square of `side`."""
    # A very long strip gets no larger input, which would hold its thread for long.
    stretch = min(max(math.sqrt(image.width / image.height), 1 / _MAX_STRETCH), _MAX_STRETCH)
    width, height = (
        _STEP * max(1, round(side * factor / _STEP)) for factor in (stretch, 1 / stretch)
    )
    return width, height
