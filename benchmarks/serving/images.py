"""The images of the benchmark, created on first use and cached in `.bench/images`.

They are the same on every machine. Photographs are the bundled examples, enlarged, shifted and
with noise added, so that the files have realistic sizes: about 87 kB at 500x375, and about 4 MB
at 12 megapixels. Digits are the strokes of the bundled examples, moved and turned, in other
colors and light. Several images of each kind prevent responses from a cache.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.assets import CACHE, ROOT

ImageKind = Literal["photo", "large", "heic", "webp", "png", "tiny", "clean", "uneven", "sheet"]
Files = Iterator[tuple[str, bytes]]
Levels = NDArray[np.float32]

_EXAMPLES: Final = ROOT / "frontend" / "examples"
_PHOTOS: Final = ("cat.jpg", "coffee.jpg", "rocket.jpg")
_PHOTO_SIZE: Final = (500, 375)
_PHONE_SIZE: Final = (4000, 3000)
_PNG_SIZE: Final = (1280, 960)
_PHOTO_BYTES: Final = 87_000
_LARGE_BYTES: Final = 4_000_000
_NOISE: Final = 6.0  # standard deviation, of 255 levels
_DIGIT_SIDE: Final = 240  # pixels
_DIGITS_PER_KIND: Final = 12
_SHEETS: Final = 4


def image_files(kind: ImageKind) -> tuple[Path, ...]:
    """Return the image files of one kind, sorted by name."""
    folder = CACHE / "images" / kind
    done = folder / ".done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _GENERATORS[kind]():
            (folder / name).write_bytes(content)
        done.touch()
    return tuple(sorted(path for path in folder.iterdir() if path != done))


def create_photo(source: Path, size: tuple[int, int], target: int, *, seed: int) -> bytes:
    """Return a JPEG of `size` (width, height) with about `target` bytes.

    `seed` determines the crop of `source` and the noise.
    """
    noisy = _draw_photo(source, size, seed)
    return min(
        (_encode(noisy, "JPEG", quality=quality) for quality in _bracket_quality(noisy, target)),
        key=lambda content: abs(len(content) - target),
    )


def _draw_photo(source: Path, size: tuple[int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    with Image.open(source) as image:
        width, height = image.size
        x, y = rng.uniform(0, 0.1, 2)
        box = (x * width, y * height, (x + 0.9) * width, (y + 0.9) * height)
        enlarged = image.convert("RGB").resize(size, Image.Resampling.BICUBIC, box=box)
    noise = rng.normal(0, _NOISE, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(enlarged) + noise).clip(0, 255).astype(np.uint8))


def _photos() -> Files:
    for number in range(9):
        source = _EXAMPLES / _PHOTOS[number % 3]
        yield f"photo-{number}.jpg", create_photo(source, _PHOTO_SIZE, _PHOTO_BYTES, seed=number)


def _large_photos() -> Files:
    for number, name in enumerate(_PHOTOS):
        content = create_photo(_EXAMPLES / name, _PHONE_SIZE, _LARGE_BYTES, seed=number)
        yield f"large-{number}.jpg", content


def _heic_photos() -> Files:
    import pillow_heif  # only in the environment of the benchmark

    pillow_heif.register_heif_opener()
    fast = {"preset": "ultrafast"}  # otherwise encoding takes minutes
    yield from _other_photos("heic", _PHONE_SIZE, "HEIF", quality=60, enc_params=fast)


def _webp_photos() -> Files:
    yield from _other_photos("webp", _PHONE_SIZE, "WEBP", quality=80, method=2)


def _png_photos() -> Files:
    yield from _other_photos("png", _PNG_SIZE, "PNG", compress_level=6)


def _other_photos(suffix: str, size: tuple[int, int], file_type: str, **options: Any) -> Files:
    for number, name in enumerate(_PHOTOS):
        photo = _draw_photo(_EXAMPLES / name, size, seed=number)
        yield f"photo-{number}.{suffix}", _encode(photo, file_type, **options)


def draw_digit(number: int, size: tuple[int, int], *, is_lit_evenly: bool) -> Image.Image:
    """Return a dark digit on light paper of `size` (width, height), mode RGB.

    `number` determines the digit, its place, the colors, the light and the noise.
    """
    rng = np.random.default_rng(number)
    strokes = _strokes(number, size, rng)[..., np.newaxis]
    paper = rng.uniform(225, 255, 3).astype(np.float32)
    ink = rng.uniform(10, 80, 3).astype(np.float32)
    levels: Levels = paper + (ink - paper) * strokes
    if not is_lit_evenly:
        levels *= _uneven_light(size, rng)[..., np.newaxis]
        levels += rng.normal(0, 3, levels.shape).astype(np.float32)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _strokes(number: int, size: tuple[int, int], rng: np.random.Generator) -> Levels:
    """Return the strokes of an example, moved and turned: (H, W) in [0, 1]."""
    examples = sorted(_EXAMPLES.glob("*.png"))
    with Image.open(examples[number % len(examples)]) as image:
        gray = np.asarray(image.convert("L"), np.float32)
    contrast = np.abs(gray - gray[0, 0])
    mask = (contrast / contrast.max() * 2 - 0.8).clip(0, 1)
    ink = Image.fromarray((255 * mask).astype(np.uint8))
    left, top, right, bottom = ink.getbbox() or (0, 0, *ink.size)
    side = max(right - left, bottom - top) * rng.uniform(1.15, 1.6)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    angle = rng.uniform(-10, 10)
    turned = ink.rotate(angle, Image.Resampling.BILINEAR, center=(x + side / 2, y + side / 2))
    square = turned.transform(
        (_DIGIT_SIDE, _DIGIT_SIDE),
        Image.Transform.EXTENT,
        (x, y, x + side, y + side),
        Image.Resampling.BILINEAR,
    )
    scale = min(size) / _DIGIT_SIDE
    width = height = round(_DIGIT_SIDE * scale)
    page = Image.new("L", size)
    page.paste(
        square.resize((width, height), Image.Resampling.BICUBIC), ((size[0] - width) // 2, 0)
    )
    strokes: Levels = np.asarray(page, np.float32) / np.float32(255)
    return strokes


def _uneven_light(size: tuple[int, int], rng: np.random.Generator) -> Levels:
    """Return a factor for each pixel, a gradient and a shadow with a soft edge: (H, W)."""
    width, height = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope_x, slope_y = (np.float32(slope) for slope in rng.uniform(-0.25, 0.25, 2))
    angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
    across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y - np.float32(middle)
    shadow = 1 / (1 + np.exp(-across / np.float32(rng.uniform(0.02, 0.1))))
    light = (0.75 + slope_x * x + slope_y * y) * (1 - np.float32(0.45) * shadow)
    return np.asarray(light, np.float32)


def _tiny_digits() -> Files:
    for number in range(_DIGITS_PER_KIND):
        drawn = draw_digit(number, (_DIGIT_SIDE, _DIGIT_SIDE), is_lit_evenly=True)
        small = drawn.convert("L").resize((28, 28), Image.Resampling.BOX)
        yield f"tiny-{number}.png", _encode(small, "PNG", optimize=True)


def _clean_digits() -> Files:
    for number in range(_DIGITS_PER_KIND):
        drawn = draw_digit(100 + number, (_DIGIT_SIDE, _DIGIT_SIDE), is_lit_evenly=True)
        yield f"clean-{number}.png", _encode(drawn, "PNG", optimize=True)


def _uneven_digits() -> Files:
    for number in range(_DIGITS_PER_KIND):
        drawn = draw_digit(200 + number, (_DIGIT_SIDE, _DIGIT_SIDE), is_lit_evenly=False)
        yield f"uneven-{number}.png", _encode(drawn, "PNG", optimize=True)


def _sheets() -> Files:
    for number in range(_SHEETS):
        drawn = draw_digit(300 + number, _PHONE_SIZE, is_lit_evenly=False)
        yield f"sheet-{number}.jpg", _encode(drawn, "JPEG", quality=90)


def _bracket_quality(image: Image.Image, target: int) -> tuple[int, int]:
    """Return the two adjacent JPEG qualities whose file sizes enclose `target` bytes."""
    low, high = 20, 97
    while high - low > 1:
        middle = (low + high) // 2
        if len(_encode(image, "JPEG", quality=middle)) < target:
            low = middle
        else:
            high = middle
    return low, high


def _encode(image: Image.Image, file_type: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_type, **options)
    return buffer.getvalue()


_GENERATORS: Final[dict[ImageKind, Callable[[], Files]]] = {
    "photo": _photos,
    "large": _large_photos,
    "heic": _heic_photos,
    "webp": _webp_photos,
    "png": _png_photos,
    "tiny": _tiny_digits,
    "clean": _clean_digits,
    "uneven": _uneven_digits,
    "sheet": _sheets,
}
