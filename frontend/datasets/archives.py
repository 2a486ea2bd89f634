"""Read images from uploaded files and zips. Imports no Streamlit.

A zip remains compressed, in a temporary file without a name, and its images are read when they are
needed: unpacked, they could exceed the memory.
"""

import hashlib
import weakref
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Protocol

from frontend.service.predictions import ImageFile
from frontend.state import memory
from frontend.ui.alerts import Problem
from frontend.ui.formatting import megabytes

if TYPE_CHECKING:
    from evaluation.sources.base import Source
    from evaluation.types import AnySample

MAX_IMAGES: Final = 10_000
MAX_BYTES: Final = 1_000_000_000  # of all images of an upload, uncompressed
MAX_STORED_BYTES: Final = 1_000_000_000  # of an upload as stored; less in a small container
MAX_IMAGE_BYTES: Final = 50_000_000  # a classification copies the image several times
MAX_ZIPS: Final = 50  # in one upload; each has an open file
ENTRY_BYTES: Final = 2_000  # that the entry of a zip and its image occupy in memory
SMALLEST_ENTRY: Final = 100  # bytes in a zip, besides its content

Extraction = tuple[list[ImageFile], list[Problem]]


class File(Protocol):
    """An uploaded file."""

    name: str

    def getvalue(self) -> bytes:
        """Return its content."""


def extract(file: File) -> Extraction:
    """Return the file itself, or the images of a zip, and the problems.

    A damaged file in a zip becomes an image with an error.
    """
    if not file.name.lower().endswith(".zip"):
        return [_read_image(file)], []
    try:
        return _read_zip(file), []
    except _RejectedError as rejected:
        return [], [rejected.problem]
    except OSError:  # the disk is full; the temporary folder is already removed
        message = f"The server does not have enough memory or disk space to open {file.name}."
        return [], [Problem(message, "Try again later, or choose a smaller file.")]


def combine(extractions: Iterable[Extraction]) -> Extraction:
    """Return the images and problems of several files; no images if they exceed the limits."""
    images: list[ImageFile] = []
    problems: list[Problem] = []
    for file_images, file_problems in extractions:
        images += file_images
        problems += file_problems
    size = sum(image.size for image in images)
    stored = sum(image.stored_size for image in images)
    max_stored = memory.share(MAX_STORED_BYTES)
    if len(images) > MAX_IMAGES or size > MAX_BYTES:
        message = (
            f"The upload has {len(images):,} images ({megabytes(size)}); "
            f"the limit is {MAX_IMAGES:,} images and {megabytes(MAX_BYTES)}."
        )
    elif stored > max_stored:
        message = f"The upload takes {megabytes(stored)}; the limit is {megabytes(max_stored)}."
    elif count_open_zips(images) > MAX_ZIPS:
        message = f"The upload has more than {MAX_ZIPS} zips."
    else:
        return images, problems
    advice = "Choose fewer images, or upload them in several parts."
    return [], [*problems, Problem(message, advice)]


class OpenZip:
    """The images of an open zip, which is closed with the last image."""

    def __init__(self, source: "Source", size: int) -> None:
        self._source: Final = source
        self.stored_size: Final = size // len(source) + ENTRY_BYTES  # of each image
        weakref.finalize(self, source.close)

    def read(self, index: int) -> "AnySample":
        """Return an image."""
        return self._source[index]


class ZippedImage(ImageFile):
    """An image that is read from its zip each time that it is needed."""

    def __init__(self, name: str, zip_file: OpenZip, index: int, content: bytes) -> None:
        super().__init__(name, b"")
        self.zip_file: Final = zip_file
        self._index = index
        self._size = len(content)
        self._digest = hashlib.sha256(content).hexdigest()

    @property
    def content(self) -> bytes:
        """The content of the file; empty if the temporary file was damaged."""
        return getattr(self.zip_file.read(self._index), "content", b"")

    @property
    def size(self) -> int:
        """The number of bytes of the content."""
        return self._size

    @property
    def stored_size(self) -> int:
        """The share of the image in the size of the zip, and its entry."""
        return self.zip_file.stored_size

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the content."""
        return self._digest


def count_open_zips(images: Iterable[ImageFile]) -> int:
    """Return the number of zips that the images keep open."""
    return len({image.zip_file for image in images if isinstance(image, ZippedImage)})


def reject_many_zips(names: Iterable[str]) -> Problem | None:
    """Return why files with these names cannot be opened together, or None."""
    number = sum(name.lower().endswith(".zip") for name in names)
    if number <= MAX_ZIPS:
        return None
    message = f"The upload has {number:,} zips; the limit is {MAX_ZIPS}."
    return Problem(message, "Put the images into fewer zips, or upload them in several parts.")


class _RejectedError(Exception):
    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.problem = Problem(message, advice)


def _read_image(file: File) -> ImageFile:
    content = file.getvalue()
    if len(content) > MAX_IMAGE_BYTES:
        return ImageFile(file.name, b"", f"This file is larger than {megabytes(MAX_IMAGE_BYTES)}.")
    return ImageFile(file.name, content)


def _read_zip(file: File) -> list[ImageFile]:
    """Return all images of a zip; raise _RejectedError if it is unsafe, damaged or has none."""
    from evaluation.errors import SourceError, UnsafeZipError  # imports numpy: only for zips
    from evaluation.sources import open_source
    from evaluation.sources.archive import Limits

    content = file.getvalue()
    limits = Limits(entries=2 * MAX_IMAGES, total=MAX_BYTES)
    entries = min(len(content) // SMALLEST_ENTRY, limits.entries)
    memory.require_free(len(content) + ENTRY_BYTES * entries)
    # The open file remains readable without its folder. (Windows keeps the folder.)
    with TemporaryDirectory(prefix="prism-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "upload.zip"
        path.write_bytes(content)
        try:
            source = open_source(path, labeled=False, limits=limits)
        except UnsafeZipError as error:
            reason = str(error).partition("was rejected: ")[2]  # without the temporary path
            advice = "Create it again with the zip tool of your operating system."
            raise _RejectedError(f"The zip {file.name} was rejected: {reason}.", advice) from error
        except SourceError as error:
            if "no images" in str(error):
                message = f"The zip {file.name} contains no images."
                raise _RejectedError(message, "Add images to it.") from error
            advice = "It may be damaged: create or upload it again."
            raise _RejectedError(f"{file.name} is not a readable zip.", advice) from error
    if len(source) > MAX_IMAGES:
        source.close()
        message = f"{file.name} contains {len(source):,} images; the limit is {MAX_IMAGES:,}."
        raise _RejectedError(message, "Upload them in several zips.")
    zip_file = OpenZip(source, len(content))
    return [_create_image(zip_file, index) for index in range(len(source))]


def _create_image(zip_file: OpenZip, index: int) -> ImageFile:
    from evaluation.types import UnreadableSample

    sample = zip_file.read(index)
    if isinstance(sample, UnreadableSample):
        return ImageFile(sample.name, b"", sample.reason)
    return ZippedImage(sample.name, zip_file, index, sample.content)
