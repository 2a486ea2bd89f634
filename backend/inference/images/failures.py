"""Errors of damaged image files that several modules raise."""

from backend.inference.errors import BrokenImageError, ImageTooLargeError, TruncatedImageError


def truncated_error() -> TruncatedImageError:
    """Return the error of a file that ends before its image."""
    return TruncatedImageError(
        "The file ends early: a part of the image is missing. Copy or download it again, and send "
        "the complete file."
    )


def broken_error() -> BrokenImageError:
    """Return the error of a file that cannot be decoded."""
    return BrokenImageError(
        "The image is damaged and cannot be decoded. Save it again and send the new file."
    )


def segments_error() -> BrokenImageError:
    """Return the error of a file with more segments than a decoder can parse in time."""
    return BrokenImageError(
        "The image file has too many segments. Save it again and send the new file."
    )


def memory_error() -> ImageTooLargeError:
    """Return the error of a file that needs more memory than its size explains."""
    return ImageTooLargeError(
        "The image needs more memory than is available. Scale it down and send it again."
    )


def time_error() -> ImageTooLargeError:
    """Return the error of a file that takes longer to decode than its size explains."""
    return ImageTooLargeError(
        "The image takes too long to decode. Scale it down, or save it as JPEG, and send it again."
    )
