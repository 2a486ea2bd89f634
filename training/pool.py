"""Pools of digits as the model sees them: rendered once through the channels, then kept.

Every field of a pool went through `find_digit`, the code that serves, so that training meets
what serving will meet.
"""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from backend.inference import digits as digit_search
from backend.inference import ink, strokes
from backend.inference.digits import DigitPreprocess, find_digit
from training import channels, pen, styles
from training.data import Digits

CHUNK = 500
Draw = Callable[[Generator], Image.Image]


@dataclass(frozen=True)
class Recipe:
    """What a pool is made from: `variants` pictures of each digit of `source`.

    Without a source the digits are written by the imaginary pen, `variants` of each label.
    `coarse` is the share of binary low-resolution scans; `plain` leaves slant and pen as they are.
    """

    source: Digits | None
    variants: int
    seed: int
    coarse: float = 0.5
    plain: bool = False


def build_pool(
    recipe: Recipe, spec: DigitPreprocess, cache: Path, name: str, workers: int
) -> Digits:
    """Return the pool of a recipe: fields (N, size, size); built once, then read from `cache`."""
    path = cache / f"{name}-{_fingerprint(recipe, spec)}.npz"
    if path.is_file():
        with np.load(path) as kept:
            return Digits(kept["pixels"], kept["labels"])
    tasks = list(_tasks(recipe))
    render = partial(_render, recipe=recipe, spec=spec)
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        parts = list(tqdm(pool.imap(render, tasks), total=len(tasks), desc=f"rendering {name}"))
    fields = np.concatenate([fields for fields, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    inked = fields.any(axis=(1, 2))
    digits = Digits(fields[inked], labels[inked])
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(path, pixels=digits.pixels, labels=digits.labels)
    return digits


def render_nothing(count: int, spec: DigitPreprocess, seed: int) -> NDArray[np.uint8]:
    """Fields (count, size, size) of pictures without a digit, a tenth of them blank."""
    rng = np.random.default_rng(seed)
    fields = [find_digit(channels.nothing(rng), spec) for _ in range(count)]
    blank = np.zeros_like(fields[0])
    return np.stack([blank if index % 10 == 0 else field for index, field in enumerate(fields)])


Task = tuple[int, NDArray[np.int64]]  # a chunk's number and its digits


def _tasks(recipe: Recipe) -> Iterator[Task]:
    count = 10 if recipe.source is None else len(recipe.source)
    digits = np.repeat(np.arange(count), recipe.variants)
    for number, start in enumerate(range(0, len(digits), CHUNK)):
        yield number, digits[start : start + CHUNK]


def _render(task: Task, recipe: Recipe, spec: DigitPreprocess) -> tuple[NDArray[np.uint8], ...]:
    number, digits = task
    rng = np.random.default_rng((recipe.seed, number))
    fields = np.stack([find_digit(_picture(int(digit), recipe, rng), spec) for digit in digits])
    labels = digits if recipe.source is None else recipe.source.labels[digits]
    return fields, labels.astype(np.uint8)


def _picture(index: int, recipe: Recipe, rng: Generator) -> Image.Image:
    source = recipe.source
    if source is None:
        glyph = pen.write(index, rng)
    else:
        pixels = source.pixels[index]
        glyph = channels.glyph_of(pixels, 4 if len(pixels) > 20 else 12)
        glyph = styles.restyle(glyph, int(source.labels[index]), rng)
    if not recipe.plain:
        if rng.random() < 0.75:
            glyph = channels.lean(glyph, rng)
        if rng.random() < 0.6:
            glyph = channels.repen(glyph, rng)
    kind = rng.random()
    if kind < recipe.coarse:
        return channels.coarse_scan(glyph, rng)
    return channels.cropped(glyph, rng) if kind > 0.9 else channels.pen_scan(glyph, rng)


def _fingerprint(recipe: Recipe, spec: DigitPreprocess) -> str:
    """Changes with whatever changes the pool: data, recipe, spec and code."""
    told = (recipe.variants, recipe.seed, recipe.coarse, recipe.plain, spec.model_dump_json())
    digest = hashlib.sha256(repr(told).encode())
    if recipe.source is not None:
        digest.update(recipe.source.pixels.tobytes() + recipe.source.labels.tobytes())
    for module in (ink, strokes, digit_search, channels, pen, styles):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:16]
