"""Decoding in separate processes, for formats whose decoders can crash, hang or allocate at will.

libheif, dav1d, OpenJPEG and libtiff allocate what the inner parts of a file declare, whatever its
header says, and OpenJPEG holds the global interpreter lock. A process is limited and killed.
docs/performance.md compares processes with threads.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from PIL import Image

from backend.inference import errors
from backend.inference.images import failures
from backend.inference.images.memory_cost import EXTRA_BYTES, TILE_PIXELS, estimate_memory

FORMATS: Final = frozenset({"HEIF", "AVIF", "JPEG2000", "TIFF"})
MAX_PROCESSES: Final = 2
# Modes of images that a process returns; it converts others.
MODES: Final = ("1", "L", "LA", "RGB", "RGBA", "CMYK", "LAB", "F", "I", "I;16", "I;16L", "I;16B")
BLOBS: Final = ("icc_profile", "exif")  # of the info of an image

PROCESS_BYTES: Final = 25_000_000  # of a process before it decodes
_MEMORY: Final = 40_000_000  # bytes of address space that any file may take
_SECONDS: Final = 1.0  # of processor time, for any file
_SECONDS_PER_PIXEL: Final = 1e-7
_WALL_SECONDS: Final = 4.0  # for a process that waits; below the default deadline of a request
_BAND_PIXELS: Final = 250_000
_MAX_LINE: Final = 100_000  # bytes
MEMORY_STATUS: Final = 70  # exit status of a process that has used up its memory
_ROOT: Final = Path(__file__).parents[3]
_ERRORS: Final = {
    each.__name__: each
    for each in (
        *(errors.BrokenImageError, errors.TruncatedImageError),
        *(errors.UnsupportedImageError, errors.ImageTooLargeError),
    )
}


class IsolatedImage(Image.Image):
    """An image file of which a process has read the header, and which a process will decode.

    `halvings` is how often the sides are to be halved: by the decoder of JPEG 2000, in other
    formats by the mean of blocks of pixels. Images with transparency or 16 bits are not reduced.
    """

    def __init__(self, data: bytes, form: str) -> None:
        """Read the header. Raise an ImageError if that fails."""
        super().__init__()
        self.format = form
        self.halvings = 0
        self._data = data
        with _request(form, data) as (facts, _):
            self._size, self._mode = _size_and_mode(facts)
            if (codes := facts["cicp"]) is not None:
                self.info["cicp"] = (int(codes[0]), int(codes[1]))
            self.info[TILE_PIXELS] = int(facts["tile_pixels"])
            self.info[EXTRA_BYTES] = PROCESS_BYTES
            if facts["blobs"][BLOBS.index("exif")]:
                self.info["exif"] = b""  # until the image is loaded

    def load(self) -> Any:
        """Decode the pixels. Raise an ImageError if that fails."""
        if self._im is None:
            self._load()
        return super().load()

    def _load(self) -> None:
        pixels = self.width * self.height
        memory, seconds = estimate_memory(self), _SECONDS_PER_PIXEL * pixels
        form = self.format or ""
        with _request(form, self._data, memory, seconds, self.halvings) as (facts, stream):
            size, mode = _size_and_mode(facts)
            if size[0] * size[1] > pixels:
                raise failures.broken_error()
            for name, length in zip(BLOBS, facts["blobs"], strict=True):
                self.info.pop(name, None)
                if blob := _read(stream, int(length)):
                    self.info[name] = blob
            image = Image.new(mode, size)
            row, step = len(Image.new(mode, (size[0], 1)).tobytes()), rows_of_band(size[0])
            for top in range(0, size[1], step):
                rows = min(step, size[1] - top)
                band = Image.frombytes(mode, (size[0], rows), _read(stream, row * rows))
                image.paste(band, (0, top))
        self._size, self._mode, self.im, self._data = size, mode, image.im, b""


def rows_of_band(width: int) -> int:
    """Return the number of rows of an image that are sent together."""
    return max(1, _BAND_PIXELS // max(width, 1))


class _Processes:
    """Processes that decode one file at a time; they are started when they are needed."""

    def __init__(self, limit: int) -> None:
        self._available = threading.BoundedSemaphore(limit)
        self._idle: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def borrow(self) -> Iterator[subprocess.Popen[bytes]]:
        """Yield a process; it is used again if it is alive after the block."""
        with self._available:
            try:
                process = self._idle.pop()
            except IndexError:
                process = _start()
            try:
                yield process
            finally:
                if process.poll() is None:
                    self._idle.append(process)
                else:
                    _close(process)

    def close(self) -> None:
        """End the idle processes."""
        while self._idle:
            process = self._idle.pop()
            process.kill()
            _close(process)


_processes: Final = _Processes(MAX_PROCESSES)


@atexit.register
def close() -> None:
    """End the idle processes; new ones are started when they are needed."""
    _processes.close()


@contextmanager
def _request(
    form: str, data: bytes, memory: int = 0, seconds: float = 0.0, halvings: int | None = None
) -> Iterator[tuple[dict[str, Any], IO[bytes]]]:
    """Send a file to a process; yield the first line of its response and the stream of the rest.

    Without `halvings`, only the header is read. The process may use `memory` bytes and `seconds`
    more than any file needs. Raise an ImageError if the process returns one, or fails.
    """
    seconds += _SECONDS
    request = {"form": form, "size": len(data), "halvings": halvings, "seconds": seconds}
    request["memory"] = memory + _MEMORY + 2 * len(data)
    message = json.dumps(request).encode() + b"\n"
    response = b""
    while not response:
        with _processes.borrow() as process, _time_limit(process, _WALL_SECONDS) as late:
            try:
                response = _send(process, message, data)
                if not response and process.wait() == 0:
                    continue  # it ended because it was idle: start another one
                facts = json.loads(response)
                if "error" not in facts:
                    yield facts, _stream(process)
            except Exception as error:
                process.kill()
                raise _failure(process.wait(), is_late=late.is_set()) from error
    if "error" in facts:
        raise _ERRORS.get(facts["error"], errors.BrokenImageError)(str(facts.get("detail")))


def _send(process: subprocess.Popen[bytes], message: bytes, data: bytes) -> bytes:
    """Send a request; return the first line of the response, empty if the process has ended."""
    assert process.stdin  # noqa: S101
    with suppress(BrokenPipeError):
        process.stdin.write(message)
        process.stdin.write(data)
        process.stdin.flush()
    return _stream(process).readline(_MAX_LINE)


def _stream(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout  # noqa: S101
    return process.stdout


@contextmanager
def _time_limit(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kill the process after `seconds`, also if it is stopped; the event tells whether."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _failure(status: int, *, is_late: bool) -> errors.ImageError:
    """Return the error for a process that did not respond as it should, by its exit status."""
    if is_late or status == -getattr(signal, "SIGPROF", 0):
        return failures.time_error()
    if status == MEMORY_STATUS:
        return failures.memory_error()
    return failures.broken_error()


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _size_and_mode(facts: dict[str, Any]) -> tuple[tuple[int, int], str]:
    width, height = map(int, facts["image_size"])
    if facts["mode"] not in MODES or min(width, height) <= 0:
        raise ValueError("the process describes no image")
    return (width, height), facts["mode"]


def _start() -> subprocess.Popen[bytes]:
    """Start a process without the service's environment, which holds its secrets.

    Raise QueueFullError if that is not possible.
    """
    names = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    try:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "backend.inference.images.isolation_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_ARENA_MAX": "1"},
        )
    except OSError as error:  # no memory, processes or open files are left
        raise errors.QueueFullError(
            "The service has no resources left for this file. Try again in a moment."
        ) from error


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(OSError):  # what could not be sent
                pipe.close()
    process.wait()
