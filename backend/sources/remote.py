"""What gives the files under an address, and the file that takes them in."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from backend.inference.errors import SourceError, UnreachableError

CHUNK: Final = 1 << 16
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 20.0
TOO_LARGE: Final = "there are more bytes than PRISM_SOURCE_MAX_BYTES allows"
_ATTEMPTS: Final = 3
_PAUSE: Final = 0.2  # seconds before the second attempt, then twice that


class Sink:
    """A new file that is counted and hashed while it is written."""

    def __init__(self, path: Path, limit: int, too_large: str = TOO_LARGE) -> None:
        """`too_large` is the reason where the file exceeds `limit` bytes."""
        self.limit: Final = limit
        self._too_large = too_large
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append `data`; raises SourceError where that exceeds the limit or the disk is full."""
        self.expect(self.size + len(data))
        self._digest.update(data)
        self.size += len(data)
        try:
            return self._file.write(data)
        except OSError as error:
            raise SourceError(f"PRISM_DATA_DIR cannot be written ({error.strerror})") from error

    def expect(self, size: int | None) -> None:
        """Raise SourceError where a file of `size` bytes would exceed the limit."""
        if size is not None and size > self.limit:
            raise SourceError(self._too_large)

    def restart(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """Of what was written, in hexadecimal."""
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()


class Remote(Protocol):
    """What lies under one address."""

    def save(self, name: str, sink: Sink, unless: str = "") -> str | None:
        """Write the file `name` into `sink` ("": the address is itself the file).

        Returns the file's version ("" where it has none), or None where it still is the version
        `unless`. Raises UnreachableError where nobody answers, SourceError where the answer is not
        the file.
        """


class LocalFile:
    """A checkpoint on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, name: str, sink: Sink, unless: str = "") -> str | None:
        """As `Remote.save`; the version is made of the time of change and the size."""
        try:
            stat = self._path.stat()
            version = f"{stat.st_mtime_ns}-{stat.st_size}"
            if version == unless:
                return None
            with self._path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    sink.write(chunk)
        except OSError as error:
            raise SourceError(f"the file cannot be read ({error.strerror})") from error
        return version


def persist(attempt: Callable[[], str | None], sink: Sink) -> str | None:
    """Call `attempt` again, from the start, where it could not reach the other side."""
    for count in range(_ATTEMPTS):
        try:
            return attempt()
        except UnreachableError:
            if count + 1 == _ATTEMPTS:
                raise
            sink.restart()
            time.sleep(_PAUSE * 2**count)
    raise AssertionError
