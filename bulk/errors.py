"""Errors of a bulk job, each with a message of one line for the user, and codes of bad images.

BulkError
├── SourceError    the images cannot be listed
├── StorageError   a storage does not respond, or cannot be written
├── JobError       the output folder belongs to another job, or is in use
├── WorkerError    processes that classify end again and again
└── ClusterError   Ray is missing, unreachable or of another version
"""

from collections.abc import Mapping
from typing import Final

from backend.inference import errors


class BulkError(Exception):
    """Base class."""


class SourceError(BulkError):
    """The images cannot be listed."""


class StorageError(BulkError):
    """A storage does not respond, or cannot be written."""


class JobError(BulkError):
    """The output folder belongs to another job, or is in use."""


class WorkerError(BulkError):
    """Processes that classify end again and again."""


class ClusterError(BulkError):
    """Ray is missing, unreachable or of another version."""


class ContentError(Exception):
    """One image cannot be read; `code` is the value of the column `error`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


UNREADABLE: Final = "unreadable_file"  # missing, without permission, or damaged in its archive
TOO_LARGE: Final = "image_too_large"
DAMAGED_CONTAINER: Final = "damaged_archive"  # images of an archive or table cannot be listed
INTERNAL: Final = "internal_error"

# The codes of the service; tests compare them.
CODES: Final[Mapping[type[errors.PrismError], str]] = {
    errors.EmptyImageError: "empty_file",
    errors.BrokenImageError: "broken_image",
    errors.TruncatedImageError: "truncated_image",
    errors.UnsupportedImageError: "unsupported_image",
    errors.ImageTooLargeError: TOO_LARGE,
    errors.InferenceError: "inference_failed",
    errors.StuckError: "stuck",
    errors.DeadlineError: "deadline_passed",
}


def error_code(error: Exception) -> str:
    """Return the code of an image that `error` prevented from being classified."""
    if isinstance(error, ContentError):
        return error.code
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), INTERNAL)
