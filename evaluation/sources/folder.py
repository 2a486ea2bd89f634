"""A folder of class folders: `7/a.png` is a picture of the class `7`."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from evaluation.errors import SourceError
from evaluation.sources.class_folders import arrange
from evaluation.sources.base import BrokenFileError, Source

MAX_BYTES: Final = 50_000_000


def open_folder(path: Path, *, labelled: bool = True) -> Source:
    """Find the pictures in the folder `path`; links that lead out of it are not followed.

    Raises SourceError where there are none.
    """
    root = path.resolve()
    outside: list[str] = []
    try:
        found = list(_files(root, outside))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    layout = arrange(str(path), found, labelled=labelled)
    notes = layout.notes
    if outside:
        notes += (f"links left out, leading to folders or out of {path}: {len(outside):,}",)

    def read(index: int) -> bytes:
        return read_file(root / layout.paths[index])

    return Source(path.name or str(root), layout.items, read, notes, above=layout.above)


def read_file(path: Path) -> bytes:
    """Read a file; raises BrokenFileError, without its path, where it cannot be or is too large."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BrokenFileError("This is not a file.")
        if status.st_size > MAX_BYTES:
            raise BrokenFileError(f"The file is larger than {MAX_BYTES:,} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise BrokenFileError(f"The file cannot be read: {error.strerror}.") from error


def is_below(root: Path, path: Path) -> bool:
    """Whether `path` ends up below the resolved `root`; a link that leads in a circle does."""
    # Path.resolve raises at such a link before Python 3.13.
    return Path(os.path.realpath(path)).is_relative_to(root)


def _files(root: Path, outside: list[str]) -> Iterator[str]:
    """Every regular file below `root`, as a path relative to it; links elsewhere to `outside`."""
    for folder, folders, names in os.walk(root, onerror=_raise):
        here = Path(folder)
        outside += [name for name in folders if (here / name).is_symlink()]
        for name in names:
            path = here / name
            if path.is_symlink() and not is_below(root, path):
                outside.append(name)
            elif path.is_file() or path.is_symlink():  # one that leads nowhere is told when read
                yield path.relative_to(root).as_posix()


def _raise(error: OSError) -> None:
    raise error
