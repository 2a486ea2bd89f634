"""The request bodies: the same pictures on every machine, made of the page's examples.

Photographs are the examples, enlarged, shifted and given the grain of a camera, so that their
files are as large as those of real ones: about 87 kB at 500x375, and 3 to 5 MB at 12 megapixels.
Decoding time follows the size. There are several of each, so that nobody answers from memory.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np
from PIL import Image

from benchmarks.serving.paths import CACHE, EXAMPLES

Kind = Literal["photo", "large", "digit", "tiny"]

_PHOTO: Final = (500, 375)
_LARGE: Final = (4000, 3000)
_PHOTO_BYTES: Final = 87_000
_LARGE_BYTES: Final = 4_000_000
_GRAIN: Final = 6.0  # standard deviation of the noise, of 255 levels
_PHOTOS: Final = ("cat.jpg", "coffee.jpg", "rocket.jpg")


def pictures(kind: Kind) -> tuple[Path, ...]:
    """The files of one kind, made at the first call and kept."""
    folder = CACHE / "pictures" / kind
    done = folder / ".done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in _MAKERS[kind]():
            (folder / name).write_bytes(data)
        done.touch()
    return tuple(sorted(path for path in folder.iterdir() if path != done))


def _photos() -> Iterator[tuple[str, bytes]]:
    for number in range(9):
        source = EXAMPLES / _PHOTOS[number % 3]
        yield f"photo-{number}.jpg", photograph(source, _PHOTO, _PHOTO_BYTES, seed=number)


def _large() -> Iterator[tuple[str, bytes]]:
    for number, name in enumerate(_PHOTOS):
        yield (
            f"large-{number}.jpg",
            photograph(EXAMPLES / name, _LARGE, _LARGE_BYTES, seed=number),
        )


def _digits() -> Iterator[tuple[str, bytes]]:
    for path in sorted(EXAMPLES.glob("*.png")):
        yield path.name, path.read_bytes()


def _tiny() -> Iterator[tuple[str, bytes]]:
    for path in sorted(EXAMPLES.glob("*.png")):
        with Image.open(path) as image:
            small = image.convert("L").resize((28, 28), Image.Resampling.BOX)
        out = io.BytesIO()
        small.quantize(8).save(out, "PNG", optimize=True)
        yield path.name, out.getvalue()


def photograph(source: Path, size: tuple[int, int], target: int, *, seed: int) -> bytes:
    """A JPEG of `size` (width, height) whose file has some `target` bytes; other seeds, others."""
    rng = np.random.default_rng(seed)
    with Image.open(source) as image:
        width, height = image.size
        x, y = rng.uniform(0, 0.1, 2)
        box = (x * width, y * height, (x + 0.9) * width, (y + 0.9) * height)
        enlarged = image.convert("RGB").resize(size, Image.Resampling.BICUBIC, box=box)
    grain = rng.normal(0, _GRAIN, (size[1], size[0], 3))
    noisy = Image.fromarray((np.asarray(enlarged) + grain).clip(0, 255).astype(np.uint8))
    return min(
        (_jpeg(noisy, quality) for quality in _qualities(noisy, target)),
        key=lambda data: abs(len(data) - target),
    )


def _qualities(image: Image.Image, target: int) -> tuple[int, int]:
    """The two neighboring qualities between which a file has `target` bytes."""
    low, high = 20, 97
    while high - low > 1:
        middle = (low + high) // 2
        if len(_jpeg(image, middle)) < target:
            low = middle
        else:
            high = middle
    return low, high


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


_MAKERS: Final[dict[Kind, Callable[[], Iterator[tuple[str, bytes]]]]] = {
    "photo": _photos,
    "large": _large,
    "digit": _digits,
    "tiny": _tiny,
}
