"""Pools of digits, and of what is none, as the model sees them: rendered once, then kept.

Every field of a pool went through `find_digit`, the code that serves, so that training meets
what serving will meet.
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

from backend.inference.preprocessing import digits as digit_search
from backend.inference.preprocessing import morphology, page_detection, ruled_lines, segmentation
from backend.inference.preprocessing.digits import DigitPreprocess, find_digit
from training.data import (
    degradation,
    negatives,
    regional_styles,
    synthetic_handwriting,
    synthetic_print,
)
from training.data.digits import NOTHING, DataError, Digits

CHUNK = 500
_SEARCH = (segmentation, page_detection, ruled_lines, morphology, digit_search)

Fields = NDArray[np.uint8]
Draw = Callable[[Generator], Image.Image]


@dataclass(frozen=True)
class Recipe:
    """What a pool is made from: `variants` pictures of each digit of `source`.

    Without a source there are `variants` of each digit, written by the imaginary pen, or `typed`.
    `coarse` is the share of binary low-resolution scans; `plain` leaves slant and pen as they are.
    """

    source: Digits | None
    variants: int
    seed: int
    coarse: float = 0.5
    plain: bool = False
    typed: bool = False


def build_pool(
    recipe: Recipe, spec: DigitPreprocess, cache: Path, name: str, workers: int
) -> Digits:
    """Return the pool of a recipe: fields (N, size, size); built once, then read from `cache`."""
    path = cache / f"{name}-{_fingerprint(recipe, spec)}.npz"
    if (kept := _read(path)) is None:
        render = partial(_render, recipe=recipe, spec=spec)
        fields, labels = _in_parallel(render, list(_tasks(recipe)), name, workers)
        inked = fields.any(axis=(1, 2))
        kept = Digits(fields[inked], labels[inked])
        _keep(path, kept)
    return kept


def build_nothing(
    count: int, seed: int, spec: DigitPreprocess, cache: Path, name: str, workers: int
) -> Digits:
    """Return what the model sees of `count` pictures without a digit, all labelled NOTHING.

    Those of which it sees nothing at all are a twentieth at most, and plain upright bars are left
    out: whatever they were, they are 1s now.
    """
    path = cache / f"{name}-{_fingerprint((count, seed), spec)}.npz"
    if (kept := _read(path)) is None:
        tasks = [(seed, start, min(CHUNK, count - start)) for start in range(0, count, CHUNK)]
        (fields,) = _in_parallel(partial(_render_nothing, spec=spec), tasks, name, workers)
        inked = fields[fields.any(axis=(1, 2)) & ~_bars(fields)]
        blank = np.zeros((len(inked) // 20, spec.size, spec.size), dtype=np.uint8)
        fields = np.concatenate((inked, blank))
        kept = Digits(fields, np.full(len(fields), NOTHING, dtype=np.uint8))
        _keep(path, kept)
    return kept


def _bars(fields: Fields) -> NDArray[np.bool_]:
    """Which fields (N, H, W) hold one narrow thing without holes, from top to bottom."""
    inked = fields > 96
    rows, columns = inked.any(axis=2).sum(axis=1), inked.any(axis=1).sum(axis=1)
    segmentation = inked.sum(axis=(1, 2))
    bars: NDArray[np.bool_] = (rows >= 17) & (columns <= 7) & (segmentation >= 0.8 * rows * columns)
    return bars


def _in_parallel(
    render: Callable[[Any], tuple[Fields, ...]], tasks: list[Any], name: str, workers: int
) -> tuple[Fields, ...]:
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        parts = list(tqdm(pool.imap(render, tasks), total=len(tasks), desc=f"rendering {name}"))
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _keep(path: Path, digits: Digits) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as draft:
        np.savez(draft, pixels=digits.pixels, labels=digits.labels)
    Path(draft.name).replace(path)  # a run that is killed leaves no half of a pool


def _read(path: Path) -> Digits | None:
    """The pool that was kept; None where there is none, or a damaged one."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            return Digits(kept["pixels"], kept["labels"])
    except (OSError, ValueError, KeyError, BadZipFile, DataError):
        return None


Task = tuple[int, NDArray[np.int64]]  # a chunk's number and its digits


def _tasks(recipe: Recipe) -> Iterator[Task]:
    count = 10 if recipe.source is None else len(recipe.source)
    digits = np.repeat(np.arange(count), recipe.variants)
    for number, start in enumerate(range(0, len(digits), CHUNK)):
        yield number, digits[start : start + CHUNK]


def _render(task: Task, recipe: Recipe, spec: DigitPreprocess) -> tuple[Fields, Fields]:
    number, digits = task
    rng = np.random.default_rng((recipe.seed, number))
    fields = np.stack([find_digit(_picture(int(digit), recipe, rng), spec) for digit in digits])
    labels = digits if recipe.source is None else recipe.source.labels[digits]
    return fields, labels.astype(np.uint8)


def _render_nothing(task: tuple[int, int, int], spec: DigitPreprocess) -> tuple[Fields]:
    seed, start, count = task
    rng = np.random.default_rng((seed, start))
    return (np.stack([find_digit(negatives.picture(rng), spec) for _ in range(count)]),)


def _picture(index: int, recipe: Recipe, rng: Generator) -> Image.Image:
    source = recipe.source
    if source is None:
        glyph = (synthetic_print if recipe.typed else synthetic_handwriting).write(index, rng)
    else:
        pixels = source.pixels[index]
        glyph = degradation.glyph_of(pixels, 4 if len(pixels) > 20 else 12)
        glyph = regional_styles.restyle(glyph, int(source.labels[index]), rng)
    if not recipe.plain:
        if rng.random() < 0.75:
            glyph = degradation.lean(glyph, rng)
        if rng.random() < 0.6:
            glyph = degradation.repen(glyph, rng)
    kind = rng.random()
    if kind < recipe.coarse:
        return degradation.coarse_scan(glyph, rng)
    return degradation.cropped(glyph, rng) if kind > 0.9 else degradation.pen_scan(glyph, rng)


def _fingerprint(recipe: Recipe | tuple[int, int], spec: DigitPreprocess) -> str:
    """Changes with whatever changes the pool: data, recipe (or count and seed), spec and code."""
    digest = hashlib.sha256(spec.model_dump_json().encode())
    if isinstance(recipe, Recipe):
        told = (recipe.variants, recipe.seed, recipe.coarse, recipe.plain)
        digest.update(repr(told).encode())
        modules = [
            *_SEARCH,
            degradation,
            synthetic_print if recipe.typed else synthetic_handwriting,
            regional_styles,
        ]
        if recipe.source is not None:
            digest.update(recipe.source.pixels.tobytes() + recipe.source.labels.tobytes())
    else:
        digest.update(repr(recipe).encode())
        modules = [*_SEARCH, negatives]
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:16]
