"""Verified copies of models on disk.

ROOT/KEY.lock            held by the process that modifies ROOT/KEY
ROOT/KEY/REVISION/       a complete model folder; REVISION is the SHA-256 of its manifest
ROOT/KEY/current.json    the revision that was fetched last
ROOT/KEY/.draft-*/       an unfinished download, or a copy being deleted; never served

KEY identifies an address. Copies are added and removed by a single rename, so a killed process
leaves at most a draft, which the next holder of the lock removes.
"""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from backend.inference.errors import ArtifactError, UnreachableError
from backend.inference.models import artifact

_CURRENT: Final = "current.json"
_DRAFT: Final = ".draft-"


class CurrentRevision(BaseModel, frozen=True):
    """The revision fetched last; `origin` is the SHA-256 that a pin of the address refers to."""

    revision: artifact.Sha256
    origin: artifact.Sha256
    version: str = ""


class CacheEntry:
    """The copies of one address. Only the holder of the lock may modify them."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    def current(self) -> CurrentRevision | None:
        """Return the revision fetched last, or None."""
        try:
            return CurrentRevision.model_validate_json((self.folder / _CURRENT).read_bytes())
        except (OSError, ValidationError):
            return None

    def find(self, revision: str) -> Path | None:
        """Return the copy `revision`, or None if it is missing or damaged."""
        copy = self.folder / revision
        try:
            if artifact.sha256(copy / artifact.MANIFEST) != revision:
                return None
            artifact.read(copy)
            os.utime(copy)  # time of the last use
        except (ArtifactError, OSError):
            return None
        return copy

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Yield an empty folder, which is removed afterwards unless it was committed."""
        folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, draft: Path) -> Path:
        """Move a finished draft into place and return its path."""
        copy = self.folder / artifact.sha256(draft / artifact.MANIFEST)
        self.remove(copy)  # damaged, since `find` did not return it
        draft.chmod(0o755)
        return draft.rename(copy)

    def set_current(self, current: CurrentRevision) -> None:
        """Store the revision fetched last."""
        with self.draft() as draft:
            file = draft / _CURRENT
            file.write_text(current.model_dump_json(), encoding="utf-8")
            file.replace(self.folder / _CURRENT)

    def remove(self, copy: Path) -> None:
        """Remove a copy atomically."""
        with self.draft() as draft, suppress(FileNotFoundError):
            copy.rename(draft / copy.name)

    def remove_drafts(self) -> None:
        """Remove the drafts of killed processes."""
        for path in self.folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(path, ignore_errors=True)

    def copies(self) -> list[Path]:
        """Return the folders of all copies."""
        return [path for path in self.folder.iterdir() if path.is_dir() and path.name[0] != "."]


class Cache:
    """The copies of all addresses, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root

    def entry(self, key: str) -> CacheEntry:
        """Return the entry of `key` for reading; `lock` it for writing."""
        return CacheEntry(self.root / key)

    @contextmanager
    def lock(self, key: str, seconds: float) -> Iterator[CacheEntry]:
        """Lock the entry of `key` against other processes and remove its drafts.

        Raise UnreachableError if another process holds the lock for `seconds`.
        """
        entry = self.entry(key)
        entry.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / f"{key}.lock", timeout=seconds):
                entry.remove_drafts()
                yield entry
        except Timeout:
            raise UnreachableError("another process is still downloading it") from None

    def trim(self, max_bytes: int, in_use: Collection[Path]) -> None:
        """Remove the least recently used copies, except `in_use`, down to `max_bytes`."""
        if not self.root.is_dir():
            return
        keys = [path.name for path in self.root.iterdir() if path.is_dir()]
        for key in keys:  # removes drafts of addresses no longer used
            with suppress(UnreachableError), self.lock(key, 0):
                pass
        copies = [copy for key in keys for copy in self.entry(key).copies()]
        sizes = {copy: _size(copy) for copy in copies}
        total = sum(sizes.values())
        for copy in sorted(copies, key=_last_used):
            if total > max_bytes and copy not in in_use:
                # An entry that another process holds is in use.
                with suppress(UnreachableError), self.lock(copy.parent.name, 0) as entry:
                    entry.remove(copy)
                    total -= sizes[copy]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _last_used(copy: Path) -> float:
    try:
        return copy.stat().st_mtime
    except FileNotFoundError:
        return 0.0
