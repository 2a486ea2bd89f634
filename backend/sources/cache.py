"""Verified copies of models on disk.

ROOT/KEY.lock            held by the process that fills or empties ROOT/KEY
ROOT/KEY/REVISION/       a whole model folder; REVISION is the SHA-256 of its manifest
ROOT/KEY/current.json    which revision the address gave last
ROOT/KEY/.draft-*/       unfinished work, or a copy on its way out; never served

KEY stands for an address. A copy appears and disappears by one rename, so a kill leaves a draft at
worst, which the next process to hold the lock removes.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, ValidationError

from backend.inference.errors import ArtifactError, UnreachableError
from backend.inference.models import artifact

_CURRENT: Final = "current.json"
_DRAFT: Final = ".draft-"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Current(BaseModel, frozen=True):
    """What an address gave last: `origin` is the SHA-256 that a pin would name."""

    revision: Sha256
    origin: Sha256
    version: str = ""


class Shelf:
    """The copies of one address. What writes is for the holder of the lock."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    def current(self) -> Current | None:
        """What the address gave last, if anything was kept."""
        try:
            return Current.model_validate_json((self.folder / _CURRENT).read_bytes())
        except (OSError, ValidationError):
            return None

    def find(self, revision: str) -> Path | None:
        """The copy `revision`, if it is here and every byte is what it was."""
        copy = self.folder / revision
        try:
            if _sha256(copy / artifact.MANIFEST) != revision:
                return None
            artifact.read(copy)
            os.utime(copy)  # when it was last used
        except (ArtifactError, OSError):
            return None
        return copy

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """An empty folder to work in, gone afterwards unless it was kept."""
        folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, draft: Path) -> Path:
        """Move a finished draft into place."""
        copy = self.folder / _sha256(draft / artifact.MANIFEST)
        self.remove(copy)  # a damaged one, or it would have been found
        draft.chmod(0o755)
        return draft.rename(copy)

    def note(self, current: Current) -> None:
        """Write down what the address gives now."""
        with self.draft() as draft:
            file = draft / _CURRENT
            file.write_text(current.model_dump_json(), encoding="utf-8")
            file.replace(self.folder / _CURRENT)

    def remove(self, copy: Path) -> None:
        """Take a copy away; nobody ever sees half of it."""
        with self.draft() as draft, suppress(FileNotFoundError):
            copy.rename(draft / copy.name)

    def tidy(self) -> None:
        """Remove what a killed process left."""
        for path in self.folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(path, ignore_errors=True)

    def copies(self) -> list[Path]:
        """The folders of all copies."""
        return [path for path in self.folder.iterdir() if path.is_dir() and path.name[0] != "."]


class Cache:
    """All copies, under `root`."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root

    def shelf(self, key: str) -> Shelf:
        """The shelf of `key`, to read from; `hold` it to write."""
        return Shelf(self.root / key)

    @contextmanager
    def hold(self, key: str, seconds: float) -> Iterator[Shelf]:
        """Hold the shelf of `key` alone, against other processes too, and tidy it.

        Raises UnreachableError where another process holds it for `seconds` on end.
        """
        shelf = self.shelf(key)
        shelf.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / f"{key}.lock", timeout=seconds):
                shelf.tidy()
                yield shelf
        except Timeout:
            raise UnreachableError("another process is still fetching it") from None

    def trim(self, max_bytes: int, keep: Collection[Path]) -> None:
        """Remove the copies used longest ago until `max_bytes` are left, but none of `keep`."""
        if not self.root.is_dir():
            return
        keys = [path.name for path in self.root.iterdir() if path.is_dir()]
        for key in keys:  # leftovers of addresses that nobody asks for any more
            with suppress(UnreachableError), self.hold(key, 0):
                pass
        copies = [copy for key in keys for copy in self.shelf(key).copies()]
        sizes = {copy: _size(copy) for copy in copies}
        total = sum(sizes.values())
        for copy in sorted(copies, key=_last_used):
            if total > max_bytes and copy not in keep:
                # A shelf that another process holds is in use.
                with suppress(UnreachableError), self.hold(copy.parent.name, 0) as shelf:
                    shelf.remove(copy)
                    total -= sizes[copy]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
