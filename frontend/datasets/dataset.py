"""Labelled pictures that were uploaded, kept on disk as one zip. No Streamlit in here.

Whatever the files of a folder are called, nothing is written under their names: they go into a zip,
which is judged like any other.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final, Protocol
from zipfile import ZipFile

from evaluation.errors import SourceError
from evaluation.sources.archive import open_zip
from evaluation.sources.source import Source
from evaluation.thumbnails import thumbnail
from evaluation.types import Sample

THUMBNAILS: Final = 256  # kept of each upload
Folder = TemporaryDirectory[str]  # goes at the end of the process, if not before


class Upload(Protocol):
    """A file as the browser sent it; `name` may have folders in it."""

    name: str

    def getbuffer(self) -> memoryview:
        """Return its content."""


class Labelled:
    """Pictures with labels. Whoever shares them closes them; the last one removes them."""

    def __init__(self, source: Source, folder: Folder) -> None:
        self.source: Final = source
        self._folder = folder
        self._places: Final = {item.name: place for place, item in enumerate(source.items)}
        self._users = 1
        self._lock = threading.Lock()
        self.small: Final = lru_cache(THUMBNAILS)(self._small)

    @property
    def name(self) -> str:
        """What the upload was called."""
        return self.source.name

    def share(self) -> "Labelled":
        """Return the same pictures for another user; raises SourceError where they are gone."""
        with self._lock:
            if self._users == 0:
                raise SourceError("these pictures are no longer kept: upload them again")
            self._users += 1
        return self

    def close(self) -> None:
        """Remove the pictures where nobody else needs them."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self.source.close()
                self._folder.cleanup()

    def _small(self, name: str) -> str | None:
        """Return a picture of at most 96 px as a data URI; None where it cannot be shown."""
        try:
            sample = self.source[self._places[name]]
        except (KeyError, ValueError):  # ValueError: closed in the meantime
            return None
        return thumbnail(sample.content) if isinstance(sample, Sample) else None


def keep_zip(upload: Upload) -> Labelled:
    """Keep a zip of class folders; raises SourceError, without a path of ours, where it is none."""
    return _opened(upload.name, lambda path: _copy(path, upload))


def keep_folder(uploads: Sequence[Upload]) -> Labelled:
    """Keep a folder of class folders, as the browser sent its files; raises SourceError."""
    first = PurePosixPath(uploads[0].name).parts[:1] if uploads else ()
    return _opened(first[0] if first else "folder", lambda path: _pack(path, uploads))


def _opened(name: str, write: Callable[[Path], None]) -> Labelled:
    folder = Folder(prefix="prism-", ignore_cleanup_errors=True)
    path = Path(folder.name) / "upload.zip"
    try:
        write(path)
        source = open_zip(path)
    except SourceError as error:
        folder.cleanup()
        raise type(error)(str(error).replace(str(path), f"“{name}”")) from error
    except OSError as error:
        folder.cleanup()
        raise SourceError(f"“{name}” cannot be kept: there may be no room left for it") from error
    return Labelled(replace(source, name=name), folder)


def _copy(path: Path, upload: Upload) -> None:
    path.write_bytes(upload.getbuffer())


def _pack(path: Path, uploads: Sequence[Upload]) -> None:
    """Write the files into a zip, without the folder that was chosen where others lie in it."""
    names = [PurePosixPath(upload.name) for upload in uploads]
    chosen = {name.parts[0] for name in names if len(name.parts) > 1}
    below = int(len(chosen) == 1 and any(len(name.parts) > 2 for name in names))
    with ZipFile(path, "w") as archive:
        for upload, name in zip(uploads, names, strict=True):
            inner = "/".join(name.parts[below:]) or name.name
            archive.writestr(inner or "file", bytes(upload.getbuffer()))
