"""Class folders: `7/a.png` is an image of class `7`, on disk or in a zip."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from evaluation.errors import SourceError
from evaluation.escaping import escape_unencodable
from evaluation.sources.base import BrokenFileError, Item, Source

MAX_FILE_BYTES: Final = 50_000_000
IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".ico", ".j2k"),
        *(".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
# People send these as images. A model rejects them with a message that names the type.
OTHER_SUFFIXES: Final = frozenset(
    {
        *(".arw", ".avi", ".cr2", ".cr3", ".cur", ".dng", ".eps", ".jxl", ".m4v", ".mkv", ".mov"),
        *(".mp4", ".nef", ".orf", ".pdf", ".pef", ".psd", ".raf", ".rw2", ".svg", ".webm"),
    }
)

# Folders of the backend's history export that are no classes.
UNLABELED_FOLDERS: Final = ("none_of_these", "unlabeled")


@dataclass(frozen=True, slots=True)
class Layout:
    """The images among some paths: `paths[i]` is the path of `items[i]`.

    `skipped_folder` is the single top folder above all class folders, or None.
    """

    paths: tuple[str, ...]
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    skipped_folder: str | None


def open_folder(path: Path, *, labeled: bool = True) -> Source:
    """Open the images in the folder `path`; links to targets outside of it are not followed.

    Raise SourceError if there are none.
    """
    root = path.resolve()
    external_links: list[str] = []
    try:
        files = list(_list_files(root, external_links))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    layout = find_images(str(path), files, labeled=labeled)
    notes = layout.notes
    if external_links:
        notes += (f"links skipped (to a folder or outside of {path}): {len(external_links):,}",)

    def read(index: int) -> bytes:
        return read_file(root / layout.paths[index])

    return Source(
        path.name or str(root), layout.items, read, notes, skipped_folder=layout.skipped_folder
    )


def find_images(name: str, paths: Iterable[str], *, labeled: bool) -> Layout:
    """Return the images among the relative `paths`, sorted; the first folder is the label.

    A single top folder above all class folders is skipped. With `labeled=False` all images are
    returned, at any depth, and files with OTHER_SUFFIXES. Raise SourceError if there are none.
    """
    visible = [(text, path) for text in sorted(paths) if not is_hidden(path := PurePosixPath(text))]
    images = [(text, path) for text, path in visible if is_image(path, labeled=labeled)]
    notes = [_note(len(visible) - len(images), "files skipped (not images)")]
    skipped_folder = None
    if labeled:
        level = _class_level([path for _, path in images])
        skipped_folder = escape_unencodable(images[0][1].parts[0]) if level else None
        deep = [(text, path) for text, path in images if len(path.parts) > level + 1]
        notes.append(_note(len(images) - len(deep), "images skipped (not in a class folder)"))
        in_class = [one for one in deep if one[1].parts[level] not in UNLABELED_FOLDERS]
        names = " and ".join(UNLABELED_FOLDERS)
        notes.append(_note(len(deep) - len(in_class), f"images skipped (in {names})"))
        entries = [(text, _item(path, path.parts[level])) for text, path in in_class]
    else:
        entries = [(text, _item(path, None)) for text, path in images]
    if not entries:
        missing = "class folders with images, such as 7/a.png" if labeled else "images"
        raise SourceError(f"{name} contains no {missing}")
    paths_of_images, items = zip(*entries, strict=True)
    return Layout(paths_of_images, items, tuple(note for note in notes if note), skipped_folder)


def is_hidden(path: PurePosixPath) -> bool:
    """Whether the path is hidden, or metadata that macOS adds to zips."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def is_image(path: PurePosixPath, *, labeled: bool = True) -> bool:
    """Whether the path is not hidden and has the suffix of an image format.

    With `labeled=False` the suffix may also be one of OTHER_SUFFIXES.
    """
    suffix = path.suffix.lower()
    is_known = suffix in IMAGE_SUFFIXES or (not labeled and suffix in OTHER_SUFFIXES)
    return is_known and not is_hidden(path)


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raise BrokenFileError, without the path, if it cannot be read or is too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BrokenFileError("The path is not a regular file.")
        if status.st_size > MAX_FILE_BYTES:
            raise BrokenFileError(f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise BrokenFileError(f"The file cannot be read: {error.strerror}.") from error


def is_inside(root: Path, path: Path) -> bool:
    """Whether `path` resolves to a path below the resolved `root`, or is a circular link there."""
    # Before Python 3.13 Path.resolve raises an error for a circular link.
    return Path(os.path.realpath(path)).is_relative_to(root)


def _list_files(root: Path, external_links: list[str]) -> Iterator[str]:
    """Yield the relative path of each file below `root`; append other links to the list."""
    for folder, folders, names in os.walk(root, onerror=_raise):
        parent = Path(folder)
        external_links += [name for name in folders if (parent / name).is_symlink()]
        for name in names:
            path = parent / name
            if path.is_symlink() and not is_inside(root, path):
                external_links.append(name)
            elif path.is_file() or path.is_symlink():  # a dangling link fails when it is read
                yield path.relative_to(root).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _item(path: PurePosixPath, label: str | None) -> Item:
    return Item(escape_unencodable(str(path)), None if label is None else escape_unencodable(label))


def _class_level(paths: list[PurePosixPath]) -> int:
    """Return 1 if all paths share a folder above the classes, as digits/7/a.png, else 0."""
    is_deep = all(len(path.parts) > 2 for path in paths)
    return int(is_deep and len({path.parts[0] for path in paths}) == 1)


def _note(count: int, text: str) -> str:
    return f"{text}: {count:,}" if count else ""
