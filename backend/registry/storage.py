"""Where the registry keeps its index and the files of versions.

ROOT/index.json              see `Index`; replaced as a whole
ROOT/index.lock              held by the process that replaces the index
ROOT/versions/ID/            the files of one version; never changed
ROOT/versions/.draft-*/      a version or an index that is being written; never read

Every change is one rename, so a killed process leaves the old or the new state, and at most files
that the index does not mention. `remove_orphans` removes these.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout

from backend.registry.errors import ConflictError, StoreUnavailableError

INDEX: Final = "index.json"
VERSIONS: Final = "versions"
NO_INDEX: Final = "0"  # revision of an index that does not exist
ORPHAN_SECONDS: Final = 3600.0  # a version that is not in the index by then is abandoned

_DRAFT: Final = ".draft-"
_LOCK_SECONDS: Final = 10.0


class Storage(Protocol):
    """The files of a registry. The methods block; they raise StoreUnavailableError.

    A change takes effect within a second: `poll_seconds` leave time to read and load it. A store
    that `is_remote` may take seconds to respond. One that `is_temporary` is lost with a container,
    or when the machine restarts.
    """

    poll_seconds: float
    is_remote: bool
    is_temporary: bool

    def read_index(self, known: str = "") -> tuple[bytes, str] | None:
        """Return the index and its revision; None if the revision is still `known`.

        Without an index, the content is empty and the revision NO_INDEX.
        """

    def write_index(self, content: bytes, revision: str) -> None:
        """Replace the index that has the `revision`; raise ConflictError if it has another one."""

    def add(self, id: str, files: Mapping[str, bytes]) -> None:  # noqa: A002
        """Store the files of a new version."""

    def folder(self, id: str) -> Path:  # noqa: A002
        """Return a local folder with the files of a version."""

    def remove(self, id: str) -> None:  # noqa: A002
        """Remove the files of a version, if they exist."""

    def remove_orphans(self, ids: Collection[str]) -> None:
        """Remove old files of versions other than `ids`."""


class FolderStorage:
    """A registry in the folder `root`, which is created by the first change."""

    poll_seconds = 0.25
    is_remote = False

    def __init__(self, root: Path) -> None:
        self._root: Final = root.absolute()
        self._index: Final = self._root / INDEX
        self._versions: Final = self._root / VERSIONS
        self.is_temporary = _is_temporary(self._root)

    def read_index(self, known: str = "") -> tuple[bytes, str] | None:
        """See `Storage.read_index`."""
        with _store_errors("read"):
            try:
                if known and _revision(self._index.stat()) == known:
                    return None
                with self._index.open("rb") as file:
                    return file.read(), _revision(os.fstat(file.fileno()))
            except FileNotFoundError:
                return None if known == NO_INDEX else (b"", NO_INDEX)

    def write_index(self, content: bytes, revision: str) -> None:
        """See `Storage.write_index`."""
        with _store_errors("written"):
            self._versions.mkdir(parents=True, exist_ok=True)
            with _lock(self._root / "index.lock"):
                if self.read_index(revision) is not None:
                    raise ConflictError("The model store was changed. Send the request again.")
                with _draft(self._versions) as draft:
                    _write(draft / INDEX, content)
                    (draft / INDEX).replace(self._index)
            _sync_folder(self._root)

    def add(self, id: str, files: Mapping[str, bytes]) -> None:  # noqa: A002
        """See `Storage.add`."""
        with _store_errors("written"):
            self._versions.mkdir(parents=True, exist_ok=True)
            with _draft(self._versions) as draft:
                for name, content in files.items():
                    _write(draft / name, content)
                draft.chmod(0o755)
                draft.rename(self._versions / id)
            _sync_folder(self._versions)

    def folder(self, id: str) -> Path:  # noqa: A002
        """See `Storage.folder`."""
        return self._versions / id

    def remove(self, id: str) -> None:  # noqa: A002
        """See `Storage.remove`."""
        with _store_errors("written"), suppress(FileNotFoundError), _draft(self._versions) as draft:
            (self._versions / id).rename(draft / id)

    def remove_orphans(self, ids: Collection[str]) -> None:
        """See `Storage.remove_orphans`."""
        with _store_errors("written"):
            for path in self._versions.iterdir() if self._versions.is_dir() else ():
                with suppress(FileNotFoundError):
                    is_old = path.stat().st_mtime < time.time() - ORPHAN_SECONDS
                    if is_old and path.name not in ids:
                        shutil.rmtree(path, ignore_errors=True)


def _is_temporary(root: Path) -> bool:
    """Return whether a folder is for temporary files, in memory, or in a container's layer."""
    if root.is_relative_to(tempfile.gettempdir()):
        return True
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:  # not Linux
        return False
    folders = {Path(mount[1]): mount[2] for mount in mounts if root.is_relative_to(mount[1])}
    kind = folders[max(folders, key=lambda folder: len(folder.parts))] if folders else ""
    return kind in {"overlay", "tmpfs", "ramfs"}


@contextmanager
def _draft(parent: Path) -> Iterator[Path]:
    """Yield an empty folder, which is removed afterwards unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    try:
        with FileLock(path, timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise StoreUnavailableError(
            "Another process is changing the model store. Send the request again."
        ) from None


@contextmanager
def _store_errors(verb: str) -> Iterator[None]:
    """Raise StoreUnavailableError, without a path, for an OSError."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(
            f"The model store cannot be {verb} ({error.strerror or 'unknown error'})."
        ) from error


def _revision(stat: os.stat_result) -> str:
    return f"{stat.st_mtime_ns}-{stat.st_ino}-{stat.st_size}"


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
