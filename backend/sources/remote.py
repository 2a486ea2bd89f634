"""The protocol of remotes, downloaded files, and checkpoints on local disk."""

import hashlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models.artifact import MANIFEST

CHUNK: Final = 1 << 16  # bytes
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 20.0
TOO_LARGE: Final = "larger than PRISM_SOURCE_MAX_BYTES"
_ATTEMPTS: Final = 3
_DELAY: Final = 0.2  # s before the second attempt, doubled for the third

Result = TypeVar("Result")


class DownloadFile:
    """A new file whose size and SHA-256 are computed while it is written."""

    def __init__(self, path: Path, limit: int, too_large: str = TOO_LARGE) -> None:
        """`too_large` is the error message if the file exceeds `limit` bytes."""
        self.limit: Final = limit
        self._too_large = too_large
        self._file = path.open("xb")
        self.restart()

    def write(self, data: bytes) -> int:
        """Append `data`; raise SourceError if that exceeds the limit or the disk is full."""
        self.check_size(self.size + len(data))
        self._digest.update(data)
        self.size += len(data)
        try:
            return self._file.write(data)
        except OSError as error:
            raise SourceError(f"PRISM_DATA_DIR cannot be written ({error.strerror})") from error

    def check_size(self, size: int | None) -> None:
        """Raise SourceError if a file of `size` bytes exceeds the limit."""
        if size is not None and size > self.limit:
            raise SourceError(self._too_large)

    def restart(self) -> None:
        """Truncate the file, for another attempt."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of the content in hexadecimal."""
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Remote(Protocol):
    """The files below one address."""

    def download(self, name: str, file: DownloadFile, unless_version: str = "") -> str | None:
        """Write the file `name` into `file` ("": the address is itself the file).

        Return the version of the file ("" if it has none), or None if it still is
        `unless_version`. Raise UnreachableError for temporary failures, else SourceError.
        """


class LocalFile:
    """A checkpoint on the local disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def download(self, name: str, file: DownloadFile, unless_version: str = "") -> str | None:
        """See `Remote.download`; the version consists of the modification time and the size."""
        try:
            stat = self._path.stat()
            version = f"{stat.st_mtime_ns}-{stat.st_size}"
            if version == unless_version:
                return None
            with self._path.open("rb") as source:
                while chunk := source.read(CHUNK):
                    file.write(chunk)
        except OSError as error:
            raise SourceError(f"the file cannot be read ({error.strerror})") from error
        return version


def find_model_folder(names: Collection[str]) -> str:
    """Return which folder of the files `names` is the model: "" or one that is one level down.

    Raise SourceError if there is none, or more than one.
    """
    if MANIFEST in names:
        return ""
    parts = [name.split("/") for name in names]
    folders = sorted(part[0] for part in parts if len(part) == 2 and part[1] == MANIFEST)
    if not folders:
        raise SourceError(f"contains no model folder ({MANIFEST})")
    if len(folders) > 1:
        raise SourceError(f"contains several model folders: {', '.join(folders)}")
    return folders[0]


def retry_unreachable(attempt: Callable[[], Result], file: DownloadFile | None = None) -> Result:
    """Call `attempt` up to three times while it raises UnreachableError; restart `file` before."""
    for i in range(_ATTEMPTS):
        try:
            return attempt()
        except UnreachableError:
            if i + 1 == _ATTEMPTS:
                raise
            if file is not None:
                file.restart()
            time.sleep(_DELAY * 2**i)
    raise AssertionError
