"""Uploaded files into pictures; a zip is opened. No Streamlit in here."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from frontend.datasets.images import Picture
from frontend.service.errors import Problem
from frontend.ui.formatting import mega

MOST_PICTURES: Final = 10_000
MOST_BYTES: Final = 1_000_000_000  # of all pictures of one upload, unpacked

Taken = tuple[list[Picture], list[Problem]]


class File(Protocol):
    """An uploaded file."""

    name: str

    def getvalue(self) -> bytes:
        """Return its bytes."""


def take(file: File) -> Taken:
    """Return the picture that a file is, or those of a zip, and what could not be taken.

    A damaged file of a zip is a picture with a fault.
    """
    if not file.name.lower().endswith(".zip"):
        return [Picture(file.name, file.getvalue())], []
    try:
        return _open(file), []
    except _RefusedError as refused:
        return [], [refused.problem]
    except OSError:  # a full disk; what was written is gone again
        return [], [_no_room(file.name)]


def together(taken: Iterable[Taken]) -> Taken:
    """Return what was taken of several files; nothing is where that is too much."""
    pictures: list[Picture] = []
    problems: list[Problem] = []
    for some, refused in taken:
        pictures += some
        problems += refused
    if too_much := _judge(pictures):
        return [], [*problems, too_much]
    return pictures, problems


class _RefusedError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def _judge(pictures: list[Picture]) -> Problem | None:
    size = sum(len(picture.content) for picture in pictures)
    if len(pictures) <= MOST_PICTURES and size <= MOST_BYTES:
        return None
    return Problem(
        f"These are {len(pictures):,} pictures of {mega(size)}; at once {MOST_PICTURES:,} of "
        f"{mega(MOST_BYTES)} can be taken.",
        "Choose fewer of them, or send them in several parts.",
    )


def _open(file: File) -> list[Picture]:
    """Read all pictures of a zip. Raises _RefusedError where it lies, is damaged or has none."""
    from evaluation.errors import SourceError, UnsafeZipError  # with numpy: only for zips
    from evaluation.sources import open_source
    from evaluation.sources.archive import Limits
    from evaluation.types import Unreadable

    with TemporaryDirectory(prefix="prism-") as folder:
        path = Path(folder) / "pictures.zip"
        path.write_bytes(file.getvalue())
        limits = Limits(entries=2 * MOST_PICTURES, total=MOST_BYTES)
        try:
            with open_source(path, labelled=False, limits=limits) as source:
                if len(source) > MOST_PICTURES:
                    raise _RefusedError(
                        Problem(
                            f"{file.name} holds {len(source):,} pictures; at once "
                            f"{MOST_PICTURES:,} can be taken.",
                            "Send them in several zips.",
                        )
                    )
                return [
                    Picture(one.name, b"", one.reason)
                    if isinstance(one, Unreadable)
                    else Picture(one.name, one.content)
                    for one in source.samples()
                ]
        except UnsafeZipError as error:
            why = str(error).partition("is refused: ")[2]  # behind the path, which is ours
            raise _RefusedError(_refused(file.name, why)) from error
        except SourceError as error:
            raise _RefusedError(_unusable(file.name, "no pictures" in str(error))) from error


def _refused(name: str, why: str) -> Problem:
    return Problem(
        f"The zip {name} is not opened: {why}.",
        "Make it anew from the pictures, with your system's own program.",
    )


def _no_room(name: str) -> Problem:
    return Problem(
        f"There is no room here to open {name} at the moment.",
        "Choose it again later, or a smaller one.",
    )


def _unusable(name: str, is_empty: bool) -> Problem:
    if is_empty:
        return Problem(f"The zip {name} holds no pictures.", "Put pictures into it.")
    return Problem(
        f"{name} is not a zip that can be read.", "It may be damaged: make or send it again."
    )
