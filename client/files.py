"""Image files and folders, in batches of bounded size, and the retries of a batch.

Nothing here sends requests, so that both clients use it.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from .batches import split_batches
from .calls import File
from .errors import BackendError, ClientError, InvalidResponse, UnreadableFile
from .retry import MAX_RETRY_AFTER, Retry, is_temporary
from .types import Classification, ItemError

MAX_ATTEMPTS: Final = 5
MAX_REQUEST_FILES: Final = 16  # as many as the backend classifies at a time for one client
MAX_REQUEST_BYTES: Final = 8_000_000
MAX_FILE_BYTES: Final = 100_000_000  # a backend accepts at most 30 MB by default

_TOO_LARGE: Final = 413
_SUFFIXES: Final = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "heic", "heif", "hif"),
        *("avif", "tif", "tiff", "jp2", "j2k", "jpx", "ico", "ppm", "pgm", "pbm", "pnm"),
    )
)

FileResult = tuple[Path, Classification | ClientError]
OnWait = Callable[[ClientError, float], None]
_Content = tuple[Path, bytes | UnreadableFile]


def ignore_wait(error: ClientError, seconds: float) -> None:
    """Do nothing before a wait."""


def require_folder(folder: Path) -> None:
    """Raise NotADirectoryError if `folder` is not a folder."""
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "There is no such folder", str(folder))


def find_images(folder: Path) -> Iterator[Path]:
    """Yield the images below `folder`, each folder's files before its folders, sorted by name.

    Images are files whose names end as those of images do; names that start with a dot, and links
    to folders, are left out. A folder that cannot be read is yielded itself.
    """
    unreadable: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=unreadable.append):
        yield from (Path(os.fsdecode(error.filename)) for error in unreadable)
        unreadable.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES:
                yield Path(parent, name)
    yield from (Path(os.fsdecode(error.filename)) for error in unreadable)


def read_batches(paths: Iterable[Path]) -> Iterator[list[_Content]]:
    """Yield the contents of files in batches; a file that cannot be read has an error instead."""
    contents = ((path, _read(path)) for path in paths)
    return split_batches(
        contents, max_items=MAX_REQUEST_FILES, max_bytes=MAX_REQUEST_BYTES, size=_size
    )


class PendingBatch:
    """Results of a batch of files, and the files that must still be sent.

    Images that fail temporarily are sent again, and so are all that a failed request contained. A
    request that the backend refuses as too large is halved.
    """

    def __init__(self, batch: Sequence[_Content], max_attempts: int, on_wait: OnWait) -> None:
        self._contents = batch
        self._results: dict[int, Classification | ClientError] = {
            i: content for i, (_, content) in enumerate(batch) if isinstance(content, ClientError)
        }
        self._request_files = len(batch)
        self._sent: list[int] = []
        self._retry = Retry(
            max_attempts=max_attempts, max_retry_after=MAX_RETRY_AFTER, on_wait=on_wait
        )

    def next_request(self) -> list[File]:
        """Return the names and contents of the files to send; nothing once all have results."""
        pending = (i for i in range(len(self._contents)) if i not in self._results)
        self._sent = [i for i, _ in zip(pending, range(self._request_files), strict=False)]
        return [
            (path.name, content)
            for path, content in (self._contents[i] for i in self._sent)
            if isinstance(content, bytes)
        ]

    def update(
        self, results: Sequence[Classification | ItemError], error: ClientError | None
    ) -> float:
        """Take the results of the last request, and the error that ended it, if any.

        Return the seconds to wait before the next request. Raise `error` if the request must not
        be repeated.
        """
        failures: dict[int, BackendError] = {}
        for i, result in zip(self._sent, results, strict=False):
            if isinstance(result, Classification):
                self._results[i] = result
            elif is_temporary(result.error):
                failures[i] = result.error
            else:
                self._results[i] = result.error
        has_progress = len(results) > len(failures)
        if has_progress:
            self._retry.reset()
        if error is not None:
            return self._delay_after(error, has_progress)
        if not failures:
            return 0.0
        delay = self._retry.next_delay(max(failures.values(), key=_retry_after))
        if delay is None:
            self._results |= failures
        return delay or 0.0

    def results(self) -> Iterator[FileResult]:
        """Yield the paths with their classifications or errors, in order."""
        for i, (path, _) in enumerate(self._contents):
            yield path, self._results[i]

    def _delay_after(self, error: ClientError, has_progress: bool) -> float:
        if isinstance(error, BackendError) and error.status == _TOO_LARGE:
            if len(self._sent) == 1:
                self._results[self._sent[0]] = error
            self._request_files = max(1, len(self._sent) // 2)
            return 0.0
        if isinstance(error, InvalidResponse) and has_progress:
            return 0.0  # the response ended early: the rest is sent again
        delay = self._retry.next_delay(error)
        if delay is None:
            raise error
        return delay


def _read(path: Path) -> bytes | UnreadableFile:
    try:
        status = path.stat()  # before opening: that of a pipe would wait
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()  # raises the reason why it cannot be read
            return UnreadableFile("is a folder")
        if not stat.S_ISREG(status.st_mode):
            return UnreadableFile("is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            return UnreadableFile(f"is larger than {MAX_FILE_BYTES:,} bytes")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        return UnreadableFile(error.strerror or "cannot be read")
    except ValueError:  # a null character in the name
        return UnreadableFile("has an invalid name")


def _size(item: _Content) -> int:
    return len(item[1]) if isinstance(item[1], bytes) else 0


def _retry_after(error: BackendError) -> float:
    return error.retry_after or 0.0
