"""Rendered training images, as the model receives them, cached on disk.

Every image is preprocessed by `find_digit`, as in serving, so training and serving inputs match.
"""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from backend.inference.preprocessing import digit_crop as digit_search
from backend.inference.preprocessing import plain_paper, scene, segmentation, strokes
from backend.inference.preprocessing.digit_crop import DigitPreprocess, find_digit
from training.data import (
    degradation,
    negatives,
    regional_styles,
    synthetic_handwriting,
    synthetic_print,
)
from training.data.digits import NEGATIVE, DataError, Digits

CHUNK_SIZE = 500  # images per parallel task
_PREPROCESSING_MODULES = (segmentation, plain_paper, scene, strokes, digit_search)

Crops = NDArray[np.uint8]


@dataclass(frozen=True)
class RenderingConfig:
    """What to render: `variants` images of each digit of `source`.

    If `source` is None, the digits are synthetic: handwritten, or printed if `is_printed`.
    `coarse_share` is the share of binary low-resolution scans. If `is_undistorted`, slant, scale
    and stroke width stay unchanged.
    """

    source: Digits | None
    variants: int
    seed: int
    coarse_share: float = 0.5
    is_undistorted: bool = False
    is_printed: bool = False


def render_digits(
    config: RenderingConfig, spec: DigitPreprocess, cache: Path, name: str, workers: int
) -> Digits:
    """Return the preprocessed crops, uint8 (N, size, size), that `config` describes.

    They are rendered once by `workers` processes, then read from the folder `cache`.
    """
    path = cache / f"{name}-{_fingerprint(config, spec)}.npz"
    if (digits := _read_cache(path)) is None:
        render = partial(_render_chunk, config=config, spec=spec)
        crops, labels = _run_in_parallel(render, list(_chunks(config)), name, workers)
        has_ink = crops.any(axis=(1, 2))
        digits = Digits(crops[has_ink], labels[has_ink])
        _write_cache(path, digits)
    return digits


def render_negatives(
    count: int, seed: int, spec: DigitPreprocess, cache: Path, name: str, workers: int
) -> Digits:
    """Return the preprocessed crops of up to `count` images without a digit, labeled NEGATIVE.

    At most one twentieth of them is blank. Upright bars are excluded, because they look like a 1.
    """
    path = cache / f"{name}-{_fingerprint((count, seed), spec)}.npz"
    if (digits := _read_cache(path)) is None:
        starts = range(0, count, CHUNK_SIZE)
        tasks = [(seed, start, min(CHUNK_SIZE, count - start)) for start in starts]
        render = partial(_render_negative_chunk, spec=spec)
        (crops,) = _run_in_parallel(render, tasks, name, workers)
        inked = crops[crops.any(axis=(1, 2)) & ~_are_bars(crops)]
        blank = np.zeros((len(inked) // 20, spec.size, spec.size), dtype=np.uint8)
        crops = np.concatenate((inked, blank))
        digits = Digits(crops, np.full(len(crops), NEGATIVE, dtype=np.uint8))
        _write_cache(path, digits)
    return digits


def _are_bars(crops: Crops) -> NDArray[np.bool_]:
    """Return which of `crops` (N, H, W) hold one tall, narrow, filled shape: bool (N,)."""
    ink = crops > 96
    rows, columns = ink.any(axis=2).sum(axis=1), ink.any(axis=1).sum(axis=1)
    area = ink.sum(axis=(1, 2))
    bars: NDArray[np.bool_] = (rows >= 17) & (columns <= 7) & (area >= 0.8 * rows * columns)
    return bars


def _run_in_parallel(
    render: Callable[[Any], tuple[Crops, ...]], tasks: list[Any], name: str, workers: int
) -> tuple[Crops, ...]:
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        chunks = list(tqdm(pool.imap(render, tasks), total=len(tasks), desc=f"rendering {name}"))
    return tuple(np.concatenate(arrays) for arrays in zip(*chunks, strict=True))


def _write_cache(path: Path, digits: Digits) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as draft:
        np.savez(draft, pixels=digits.pixels, labels=digits.labels)
    Path(draft.name).replace(path)  # atomic: a killed run leaves no partial file


def _read_cache(path: Path) -> Digits | None:
    """Return the cached digits, or None if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Digits(arrays["pixels"], arrays["labels"])
    except (OSError, ValueError, KeyError, BadZipFile, DataError):
        return None


Chunk = tuple[int, NDArray[np.int64]]  # its number and the indices of its digits


def _chunks(config: RenderingConfig) -> Iterator[Chunk]:
    count = 10 if config.source is None else len(config.source)
    digits = np.repeat(np.arange(count), config.variants)
    for number, start in enumerate(range(0, len(digits), CHUNK_SIZE)):
        yield number, digits[start : start + CHUNK_SIZE]


def _render_chunk(
    chunk: Chunk, config: RenderingConfig, spec: DigitPreprocess
) -> tuple[Crops, Crops]:
    number, digits = chunk
    rng = np.random.default_rng((config.seed, number))
    crops = np.stack([find_digit(_render_image(int(i), config, rng), spec) for i in digits])
    labels = digits if config.source is None else config.source.labels[digits]
    return crops, labels.astype(np.uint8)


def _render_negative_chunk(task: tuple[int, int, int], spec: DigitPreprocess) -> tuple[Crops]:
    seed, start, count = task
    rng = np.random.default_rng((seed, start))
    return (np.stack([find_digit(negatives.draw_negative(rng), spec) for _ in range(count)]),)


def _render_image(index: int, config: RenderingConfig, rng: Generator) -> Image.Image:
    source = config.source
    if source is None:
        synthetic = synthetic_print if config.is_printed else synthetic_handwriting
        glyph = synthetic.draw_digit(index, rng)
    else:
        pixels = source.pixels[index]
        glyph = degradation.to_glyph(pixels, 4 if len(pixels) > 20 else 12)
        glyph = regional_styles.restyle(glyph, int(source.labels[index]), rng)
    if not config.is_undistorted:
        if rng.random() < 0.75:
            glyph = degradation.distort(glyph, rng)
        if rng.random() < 0.6:
            glyph = degradation.change_stroke_width(glyph, rng)
    kind = rng.random()
    if kind < config.coarse_share:
        return degradation.render_coarse_scan(glyph, rng)
    if kind > 0.9:
        return degradation.render_clipped(glyph, rng)
    return degradation.render_pen_on_paper(glyph, rng)


def _fingerprint(config: RenderingConfig | tuple[int, int], spec: DigitPreprocess) -> str:
    """Return a hash of all that the images depend on: data, config, spec and source code.

    For negatives, `config` is (count, seed).
    """
    digest = hashlib.sha256(spec.model_dump_json().encode())
    if isinstance(config, RenderingConfig):
        values = (config.variants, config.seed, config.coarse_share, config.is_undistorted)
        digest.update(repr(values).encode())
        synthetic = synthetic_print if config.is_printed else synthetic_handwriting
        modules = [*_PREPROCESSING_MODULES, degradation, synthetic, regional_styles]
        if config.source is not None:
            digest.update(config.source.pixels.tobytes() + config.source.labels.tobytes())
    else:
        digest.update(repr(config).encode())
        modules = [*_PREPROCESSING_MODULES, negatives]
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:16]
