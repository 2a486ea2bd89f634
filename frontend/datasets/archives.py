"""Read images from uploaded files and zips. Imports no Streamlit."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from frontend.service.predictions import ImageFile
from frontend.ui.alerts import Problem
from frontend.ui.formatting import megabytes

MAX_IMAGES: Final = 10_000
MAX_BYTES: Final = 1_000_000_000  # of all images of an upload, uncompressed

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
        return [ImageFile(file.name, file.getvalue())], []
    try:
        return _read_zip(file), []
    except _RejectedError as rejected:
        return [], [rejected.problem]
    except OSError:  # the disk is full; the temporary folder is already removed
        message = f"The server does not have enough disk space to open {file.name}."
        return [], [Problem(message, "Try again later, or choose a smaller file.")]


def combine(extractions: Iterable[Extraction]) -> Extraction:
    """Return the images and problems of several files; no images if they exceed the limits."""
    images: list[ImageFile] = []
    problems: list[Problem] = []
    for file_images, file_problems in extractions:
        images += file_images
        problems += file_problems
    size = sum(len(image.content) for image in images)
    if len(images) > MAX_IMAGES or size > MAX_BYTES:
        problem = Problem(
            f"The upload has {len(images):,} images ({megabytes(size)}); "
            f"the limit is {MAX_IMAGES:,} images and {megabytes(MAX_BYTES)}.",
            "Choose fewer images, or upload them in several parts.",
        )
        return [], [*problems, problem]
    return images, problems


class _RejectedError(Exception):
    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.problem = Problem(message, advice)


def _read_zip(file: File) -> list[ImageFile]:
    """Return all images of a zip; raise _RejectedError if it is unsafe, damaged or has none."""
    from evaluation.errors import SourceError, UnsafeZipError  # imports numpy: only for zips
    from evaluation.sources import open_source
    from evaluation.sources.archive import Limits
    from evaluation.types import UnreadableSample

    with TemporaryDirectory(prefix="prism-") as folder:
        path = Path(folder) / "upload.zip"
        path.write_bytes(file.getvalue())
        limits = Limits(entries=2 * MAX_IMAGES, total=MAX_BYTES)
        try:
            with open_source(path, labeled=False, limits=limits) as source:
                if len(source) > MAX_IMAGES:
                    limit = f"the limit is {MAX_IMAGES:,}"
                    message = f"{file.name} contains {len(source):,} images; {limit}."
                    raise _RejectedError(message, "Upload them in several zips.")
                return [
                    ImageFile(sample.name, b"", sample.reason)
                    if isinstance(sample, UnreadableSample)
                    else ImageFile(sample.name, sample.content)
                    for sample in source.samples()
                ]
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
