"""The process in which `isolation` decodes files: reads requests on stdin, responds on stdout.

It limits its memory and processor time for each file: a file that makes a decoder allocate or
compute without end, or crash, ends only this process. It exits after IDLE_SECONDS without work,
when it holds much more memory than at its start, and when stdin is closed.

A request is a line of JSON, `{"form", "size", "halvings", "memory", "seconds"}`, and the `size`
bytes of the file. The sides of the image are halved `halvings` times, if its mode allows that. If
`halvings` is null, only the header is read. The response is a line of JSON,
either `{"error", "detail"}` or what `_describe` returns. If the image was loaded, its blobs and the
bands of its pixels follow.
"""

import json
import math
import mmap
import select
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

from PIL import Image

from backend.inference.errors import ImageError
from backend.inference.images import completeness, failures, opening
from backend.inference.images.isolation import BLOBS, MEMORY_STATUS, MODES, rows_of_band
from backend.inference.images.memory_cost import count_tile_pixels

_HAS_LIMITS: Final = find_spec("resource") is not None  # not on Windows
IDLE_SECONDS: Final = 5.0
_PIXELS: Final = "prism_pixels"  # attribute with decoded pixels that are not in the image
_REDUCED_MODES: Final = ("L", "RGB", "CMYK")
_MAX_BLOB: Final = 4_000_000  # bytes
_MAX_GROWTH: Final = 10_000_000  # bytes of address space, which the next file lacks


def main() -> None:
    """Respond to requests until there are none."""
    for name in ("SIGINT", "SIGTERM"):  # the service finishes its requests, then closes stdin
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    base = _address_space()
    while _is_requested() and (line := sys.stdin.buffer.readline()):
        request = json.loads(line)
        data = sys.stdin.buffer.read(request["size"])
        _set_limits(base + request["memory"], request["seconds"])
        for part in _respond(request, data):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        _set_limits(None, 0)
        if _address_space() > base + _MAX_GROWTH:
            return


def _respond(request: dict[str, Any], data: bytes) -> Iterator[bytes]:
    try:
        image = _open(data, request["form"], request["halvings"])
    except ImageError as error:
        yield _line({"error": type(error).__name__, "detail": str(error)})
        return
    if request["halvings"] is None:
        yield _line(_describe(image, 1))
        return
    # The decoder of JPEG 2000 has reduced the image already.
    is_reduced = request["form"] != "JPEG2000" and image.mode in _REDUCED_MODES
    factor = 2 ** request["halvings"] if is_reduced else 1
    yield _line(_describe(image, factor))
    for name in BLOBS:
        yield _blob(image, name)
    step = max(factor, rows_of_band(image.width) // factor * factor)
    for top in range(0, image.height, step):
        band = _band(image, top, min(top + step, image.height))
        yield (band.reduce(factor) if factor > 1 else band).tobytes()


def _band(image: Image.Image, top: int, bottom: int) -> Image.Image:
    """Return some rows."""
    pixels = getattr(image, _PIXELS, None)
    if pixels is None:
        return image.crop((0, top, image.width, bottom))
    size, stride = (image.width, bottom - top), pixels.stride
    rows = memoryview(pixels.data)[top * stride : bottom * stride].tobytes()
    return Image.frombytes(image.mode, size, rows, "raw", pixels.mode, stride)


def _open(data: bytes, form: str, halvings: int | None) -> Image.Image:
    image = opening.parse_file(data, form)
    if halvings is None:
        return image
    try:
        if form == "HEIF" and image.mode in MODES:
            return _load_heif(image)
        if form == "JPEG2000":
            setattr(image, "reduce", halvings)  # noqa: B010 (the property hides a method)
        image.load()
        if form == "JPEG2000":
            setattr(image, "reduce", 0)  # noqa: B010 (gives the image back its method)
        mode = _sent_mode(image)
        return image if image.mode == mode else image.convert(mode)
    except opening.DECODE_ERRORS as error:
        if completeness.ends_early(data, form, image):
            raise failures.truncated_error() from error
        raise failures.broken_error() from error


def _load_heif(image: Any) -> Image.Image:
    """Decode a HEIF file without copying the pixels to a Pillow image, which takes memory."""
    pixels = image._heif_file[image.tell()]
    pixels.load()
    image._size = pixels.size  # decoding may change it
    if pixels.mode != image.mode:
        raise ValueError("the mode has changed")
    setattr(image, _PIXELS, pixels)
    return cast(Image.Image, image)


def _describe(image: Image.Image, factor: int) -> dict[str, Any]:
    """Describe an image whose sides will be divided by `factor`."""
    return {
        "image_size": [math.ceil(side / factor) for side in image.size],
        "mode": _sent_mode(image),
        "tile_pixels": count_tile_pixels(image),
        "cicp": image.info.get("cicp"),
        "blobs": [len(_blob(image, name)) for name in BLOBS],
    }


def _sent_mode(image: Image.Image) -> str:
    if image.mode in MODES and "transparency" not in image.info:
        return image.mode
    return "RGBA" if image.has_transparency_data else "RGB"


def _blob(image: Image.Image, name: str) -> bytes:
    blob = image.info.get(name)
    return blob if isinstance(blob, bytes) and len(blob) <= _MAX_BLOB else b""


def _line(response: dict[str, Any]) -> bytes:
    return json.dumps(response).encode() + b"\n"


def _is_requested() -> bool:
    """Wait for a request; return whether there is one within IDLE_SECONDS."""
    if not _HAS_LIMITS:  # on Windows, select takes sockets only
        return True
    return bool(select.select([sys.stdin], [], [], IDLE_SECONDS)[0])


def _set_limits(memory: int | None, seconds: float) -> None:
    """Limit the address space to `memory` bytes, and end this process after `seconds`.

    Only time in which a processor works for this process counts; 0 is no limit.
    """
    if not _HAS_LIMITS:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard if memory is None else memory, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends the process


def _address_space() -> int:
    """Return the bytes of this process's address space; 0 if unknown."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
    except OSError:
        return 0
    return int(pages) * mmap.PAGESIZE


if __name__ == "__main__":
    try:
        main()
    except MemoryError:
        sys.exit(MEMORY_STATUS)
