"""Images for tests."""

import io
from collections.abc import Iterable, Mapping
from typing import Any
from zipfile import ZipFile

import numpy as np
from PIL import Image, ImageDraw


def seven(size: int = 64, *, ink: str = "black", paper: str = "white") -> Image.Image:
    """Return an image of a seven drawn with one line."""
    image = Image.new("RGB", (size, size), paper)
    points = [(0.28, 0.25), (0.72, 0.25), (0.45, 0.8)]
    ImageDraw.Draw(image).line(
        [(x * size, y * size) for x, y in points], fill=ink, width=max(2, size // 12)
    )
    return image


def noise(width: int = 32, height: int = 32, seed: int = 0) -> Image.Image:
    """Return smooth color noise, which lossy formats preserve well."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return the image as a file in the format `form`."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def uniform_webp(side: int) -> bytes:
    """Return a lossless WebP of 28 bytes with side x side pixels of one color."""
    # Signature, width - 1 and height - 1 in 14 bits each; no transforms; five codes of one symbol.
    content = b"\x2f" + (side - 1 | side - 1 << 14).to_bytes(4, "little") + b"\x88\x88\x08"
    chunk = b"VP8L" + len(content).to_bytes(4, "little") + content
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk


SEVEN = encoded(seven())
BROKEN = SEVEN[:90]


def zipped(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip archive of the files."""
    pairs = files.items() if isinstance(files, Mapping) else files
    out = io.BytesIO()
    with ZipFile(out, "w") as archive:
        for name, content in pairs:
            archive.writestr(name, content)
    return out.getvalue()


def sevens(correct: int, labeled_one: int = 0, labeled_two: int = 0, broken: int = 0) -> bytes:
    """Return a zip of sevens in the folders 7, 1 and 2, and of damaged files in 7."""
    counts = {"7": correct, "1": labeled_one, "2": labeled_two}
    files = [
        (f"{label}/{number:05d}.png", SEVEN)
        for label, count in counts.items()
        for number in range(count)
    ]
    return zipped(files + [(f"7/broken{number}.png", BROKEN) for number in range(broken)])
