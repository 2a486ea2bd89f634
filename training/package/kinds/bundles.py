"""Folders and zips that hold a classifier with its labels and a description."""

import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import BadZipFile, ZipFile

from evaluation.errors import UnsafeZipError
from evaluation.sources.archive import Limits, validate_directory
from training.package.kinds.files import read_json, zip_names
from training.package.labels import KEYS
from training.package.model_spec import PackageError

_LABEL_FILES: Final = ("labels.txt", "classes.txt", "class_names.txt", "labels.json")
_CONFIGS: Final = ("config.json", "metadata.json")  # that may hold labels
_PLAIN: Final = re.compile(r"[\w][\w.+ ()-]{0,200}")
_LIMITS: Final = Limits(entries=10_000, total=2_000_000_000, entry=2_000_000_000)
_MAX_DEPTH: Final = 3
_MAX_LISTED: Final = 5  # files in a message
_DAMAGED: Final = (BadZipFile, OSError, NotImplementedError, EOFError, zlib.error)


def names(path: Path) -> tuple[str, ...]:
    """Return the names of the files in a zip, or in a folder and the folders below it."""
    if not path.is_dir():
        return zip_names(path)
    found = []
    for depth in range(_MAX_DEPTH):
        pattern = "/".join(["*"] * (depth + 1))
        found += [str(each.relative_to(path)) for each in path.glob(pattern) if each.is_file()]
    return tuple(sorted(found))


def has_suffix(path: Path, suffix: str) -> bool:
    """Return whether a folder or a zip holds a file whose name ends in `suffix`."""
    return any(name.lower().endswith(suffix) for name in names(path))


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Yield the folder `path`, or a temporary one with the files of the zip `path`.

    Raise PackageError for a damaged zip, for entries that would leave the folder, and for a zip
    that exceeds the limits. A PackageError of the caller names the zip instead of the folder.
    """
    if path.is_dir():
        yield path
        return
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            with ZipFile(path) as archive:
                _unpack(archive, folder, path)
        except _DAMAGED as error:
            raise PackageError(f"{path} is damaged; create the zip again") from error
        try:
            yield folder
        except PackageError as error:
            raise PackageError(str(error).replace(str(folder), str(path))) from error


def only_file(folder: Path, suffix: str, source: Path) -> Path:
    """Return the one file that ends in `suffix`; raise PackageError if there are several."""
    found = [name for name in names(folder) if name.lower().endswith(suffix)]
    if len(found) != 1:
        listed = ", ".join(found[:_MAX_LISTED]) or "none"
        raise PackageError(f"{source} must hold one file *{suffix}; it holds {listed}; pass one")
    return folder / found[0]


def find(folder: Path, name: str) -> Path | None:
    """Return the file `name` in a folder or in one below it; None if there is none."""
    found = [each for each in names(folder) if PurePosixPath(each).name == name]
    return folder / min(found, key=len) if found else None


def find_labels(folder: Path) -> Path | None:
    """Return the file with the labels; None if there is none."""
    for name in _LABEL_FILES:
        if path := find(folder, name):
            return path
    for name in _CONFIGS:
        path = find(folder, name)
        if path and any(isinstance(read_json(path).get(key), dict | list) for key in KEYS):
            return path
    return None


def require_limits(archive: ZipFile, source: Path) -> None:
    """Raise PackageError if the entries of a zip are too many, too large or not plain files."""
    entries = archive.infolist()
    if len(entries) > _LIMITS.entries:
        raise PackageError(f"{source} contains more than {_LIMITS.entries:,} files; pass the model")
    try:
        validate_directory(entries, _LIMITS)
    except UnsafeZipError as error:
        raise PackageError(
            f"{source} was rejected: {error}. If you trust it, unpack it and pass its files"
        ) from error


def _unpack(archive: ZipFile, folder: Path, source: Path) -> None:
    require_limits(archive, source)
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        parts = PurePosixPath(entry.filename).parts
        if parts[:1] == ("__MACOSX",) or any(part.startswith(".") for part in parts):
            continue
        if not parts or not all(_PLAIN.fullmatch(part) for part in parts):
            raise PackageError(f"{source} contains the name {entry.filename[:100]!r}; rename it")
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
