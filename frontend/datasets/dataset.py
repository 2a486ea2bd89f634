"""Uploaded datasets: labeled images, stored on disk as one zip. Imports no Streamlit.

The files of a folder are never written under their own names: they are packed into a zip, which is
validated like any other.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final, Protocol
from zipfile import ZipFile

from evaluation.errors import SourceError
from evaluation.sources.archive import Limits, open_zip
from evaluation.sources.base import Source
from evaluation.thumbnails import create_thumbnail_uri
from evaluation.types import Sample
from frontend.datasets.archives import ENTRY_BYTES, SMALLEST_ENTRY
from frontend.state import memory

MAX_ENTRIES: Final = 100_000  # of a zip
CACHED_THUMBNAILS: Final = 256  # per dataset
Folder = TemporaryDirectory[str]  # removed at the end of the process at the latest


class Upload(Protocol):
    """An uploaded file; `name` may contain folders."""

    name: str

    def getbuffer(self) -> memoryview:
        """Return its content."""


@dataclass(slots=True)
class MemoryFile:
    """A file that was not uploaded."""

    name: str
    content: bytes

    def getbuffer(self) -> memoryview:
        """Return its content."""
        return memoryview(self.content)


class Dataset:
    """Labeled images. Every user closes the dataset; the last one deletes its files.

    A dataset that is `restored` from the page's store has a name and thumbnails, but no images.
    """

    def __init__(
        self, source: Source, folder: Folder | None, thumbnails: Mapping[str, str] | None = None
    ) -> None:
        self.source: Final = source
        self._folder = folder
        self._thumbnails: Final = thumbnails or {}
        self._indices: Final = {item.name: index for index, item in enumerate(source.items)}
        self._users = 0 if folder is None else 1
        self._lock = threading.Lock()
        self.thumbnail: Final = lru_cache(CACHED_THUMBNAILS)(self._create_thumbnail)

    @classmethod
    def restored(cls, name: str, thumbnails: Mapping[str, str]) -> "Dataset":
        """Return a dataset whose files are deleted; `thumbnails` are data URIs by image name."""
        return cls(Source(name, (), _no_content), None, thumbnails)

    @property
    def name(self) -> str:
        """The name of the uploaded zip or folder."""
        return self.source.name

    @property
    def has_images(self) -> bool:
        """Whether its files are still there, so that it can be shared."""
        return self._users > 0

    def share(self) -> "Dataset":
        """Return this dataset for another user; raise SourceError if it is already deleted."""
        with self._lock:
            if self._users == 0:
                raise SourceError("this dataset has expired: upload it again")
            self._users += 1
        return self

    def close(self) -> None:
        """Release the dataset, and delete it if there are no other users."""
        with self._lock:
            if self._folder is None:
                return
            self._users -= 1
            if self._users == 0:
                self.source.close()
                self._folder.cleanup()

    def _create_thumbnail(self, name: str) -> str | None:
        """Return an image of at most 96 px as a data URI, or None if it cannot be shown."""
        if (stored := self._thumbnails.get(name)) is not None:
            return stored
        try:
            sample = self.source[self._indices[name]]
        except (KeyError, ValueError):  # ValueError: closed in the meantime
            return None
        return create_thumbnail_uri(sample.content) if isinstance(sample, Sample) else None


def _no_content(index: int) -> bytes:
    raise IndexError(index)


def store_zip(upload: Upload) -> Dataset:
    """Store a zip of class folders; raise SourceError, without a server path, if it is invalid."""
    content = upload.getbuffer()
    return _store(upload.name, len(content), lambda path: path.write_bytes(content))


def store_folder(uploads: Sequence[Upload]) -> Dataset:
    """Store the files of a folder of class folders; raise SourceError if they are invalid."""
    first = PurePosixPath(uploads[0].name).parts[:1] if uploads else ()
    size = sum(len(upload.getbuffer()) for upload in uploads)
    name = first[0] if first else "folder"
    return _store(name, size, lambda path: _pack_files(path, uploads))


def _store(name: str, size: int, write: Callable[[Path], object]) -> Dataset:
    folder = Folder(prefix="prism-", ignore_cleanup_errors=True)
    path = Path(folder.name) / "upload.zip"
    try:
        memory.require_free(size + ENTRY_BYTES * min(size // SMALLEST_ENTRY, MAX_ENTRIES))
        write(path)
        source = open_zip(path, limits=Limits(entries=MAX_ENTRIES))
    except SourceError as error:
        folder.cleanup()
        raise type(error)(str(error).replace(str(path), f"“{name}”")) from error
    except OSError as error:
        folder.cleanup()
        message = f"“{name}” cannot be stored: the server's memory or disk may be full"
        raise SourceError(message) from error
    return Dataset(replace(source, name=name), folder)


def _pack_files(path: Path, uploads: Sequence[Upload]) -> None:
    """Write the files into a zip, without the chosen folder if it contains class folders."""
    names = [PurePosixPath(upload.name) for upload in uploads]
    top_folders = {name.parts[0] for name in names if len(name.parts) > 1}
    skipped = int(len(top_folders) == 1 and any(len(name.parts) > 2 for name in names))
    with ZipFile(path, "w") as archive:
        for upload, name in zip(uploads, names, strict=True):
            inner = "/".join(name.parts[skipped:]) or name.name
            archive.writestr(inner or "file", bytes(upload.getbuffer()))
