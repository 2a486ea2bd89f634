"""Measure decoding and preprocessing of photographs by format, in one thread.

    .venv/bin/python -m benchmarks.decoding [FILE ...] [--model models/photos] [--runs 15]

Without files, a bundled example is encoded in every format; HEIC needs `pillow-heif`, which
requirements/benchmarks.txt installs. The table has milliseconds of processor time of the service,
the least of all runs, and in `duration` the time that passes, which includes the process that
decodes HEIC and AVIF. `ImageNet` is the total with bilinear resizing to 256 and a crop of 224.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from PIL import Image

from backend.inference.decoder import Decoder
from backend.inference.errors import PrismError
from backend.inference.images import icc, loading, opening
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.preprocessing.photos import PhotoPreprocess, crop_photo, normalize_photo
from benchmarks.serving.images import create_photo

_EXAMPLE: Final = Path(__file__).parents[1] / "frontend" / "examples" / "coffee.jpg"
_SMALL: Final = (500, 375)
_MEDIUM: Final = (1600, 1000)
_LARGE: Final = (4000, 3000)
_TURNED: Final = 6  # EXIF orientation
_DISPLAY_P3: Final = (12, 13)  # ITU-T H.273
_COLUMNS: Final = ("image", "kB", "open", "decode", "resize", "normalize", "total", "duration")


def main() -> None:
    """Parse the command line, measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="*", help="image files (default: examples)")
    parser.add_argument("--model", type=Path, default=Path("models/photos"))
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    try:
        spec = artifact.read(options.model).manifest.preprocess
    except PrismError as error:
        sys.exit(f"error: {error}")
    if not isinstance(spec, PhotoPreprocess):
        sys.exit(f"error: {options.model} is not a model for photographs")
    files = [(path.name, path.read_bytes()) for path in options.files]
    print(f"| {' | '.join((*_COLUMNS, 'ImageNet'))} |")
    print(f"| --- |{' ---: |' * len(_COLUMNS)}")
    for name, data in files or example_files():
        row = measure(data, spec, options.runs)
        imagenet = measure(data, PhotoPreprocess(), options.runs)["total"]
        cells = [f"{1e3 * row[column]:.2f}" for column in _COLUMNS[2:]]
        print(f"| {name} | {len(data) / 1e3:,.0f} | {' | '.join(cells)} | {1e3 * imagenet:.2f} |")
        sys.stdout.flush()


def measure(data: bytes, spec: PhotoPreprocess, runs: int) -> dict[str, float]:
    """Return the least seconds of every stage."""
    decoder = Decoder(spec, ImageReader())
    limit, side = decoder.reader.max_pixels, decoder.min_side
    least: dict[str, float] = {}
    for _ in range(runs):
        times = [time.thread_time()]
        opened = opening.open_image(data, max_pixels=limit, min_side=side)
        times.append(time.thread_time())
        image = loading.load_rgb(opened, min_side=side)
        times.append(time.thread_time())
        crop = crop_photo(image, spec)
        times.append(time.thread_time())
        normalize_photo(crop, spec)
        times.append(time.thread_time())
        started = time.perf_counter()
        decoder.decode(data)
        duration = time.perf_counter() - started
        seconds = [end - start for start, end in pairwise(times)]
        seconds += [time.thread_time() - times[-1], duration]
        for column, value in zip(_COLUMNS[2:], seconds, strict=True):
            least[column] = min(value, least.get(column, value))
    return least


def example_files() -> Iterator[tuple[str, bytes]]:
    """Yield the description and the content of an image file of each format."""
    yield "JPEG, 500x375", create_photo(_EXAMPLE, _SMALL, 87_000, seed=0)
    large = create_photo(_EXAMPLE, _LARGE, 4_000_000, seed=0)
    yield "JPEG, 12 megapixels, 4 MB", large
    # Photographs have less noise than pixels drawn at random: half the size, and enlarged.
    photo = _decode(large).resize((_LARGE[0] // 2, _LARGE[1] // 2), Image.Resampling.BOX)
    photo = photo.resize(_LARGE, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = _TURNED
    profile = icc.coded_profile(*_DISPLAY_P3)
    jpeg: dict[str, dict[str, Any]] = {
        "4:2:0": {},
        "4:4:4": {"subsampling": 0},
        "progressive": {"progressive": True},
        "turned by EXIF": {"exif": exif},
        "Display P3": {"icc_profile": profile},
    }
    for name, options in jpeg.items():
        yield f"JPEG, 12 megapixels, {name}", _encode(photo, "JPEG", quality=90, **options)
    for mode in ("L", "CMYK"):
        yield f"JPEG, 12 megapixels, {mode}", _encode(photo.convert(mode), "JPEG", quality=90)
    medium = photo.resize(_MEDIUM)
    others: dict[str, dict[str, Any]] = {
        "PNG": {},
        "WebP": {"quality": 80, "method": 2},
        "AVIF": {"quality": 75, "speed": 9},
    }
    with suppress(ImportError):
        import pillow_heif  # only in the environment of the benchmark

        pillow_heif.register_heif_opener()
        others["HEIF"] = {"quality": 60}
    for form, options in others.items():
        yield f"{form}, 1.6 megapixels", _encode(medium, form, **options)
        yield f"{form}, 12 megapixels", _encode(photo, form, **options)
        wide = {**options, "icc_profile": profile}
        yield f"{form}, 12 megapixels, Display P3", _encode(photo, form, **wide)


def _decode(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB")


def _encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
