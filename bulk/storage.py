"""Files on this machine or behind a URL such as gs:// or s3://, through fsspec."""

import io
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from bulk.errors import StorageError

_PACKAGES: Final = {
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "abfs": "adlfs",
}
_MAGIC: Final = "*?["


class Storage:
    """The folder, or prefix, `address`; the names of its files are relative to it.

    Raise StorageError if the package for a URL is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address: Final = address
        protocol = address.split("://")[0] if "://" in address else "file"
        try:
            # Results of this job must be seen at once: listings are not cached.
            self._fs, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            package = _PACKAGES.get(protocol)
            raise StorageError(
                f"{protocol}:// addresses require the package {package}; install it with "
                f"`pip install {package}`"
                if package
                else f"{address}: {protocol}:// addresses are not supported; use a path, gs:// or s3://"
            ) from error
        except Exception as error:
            raise _unavailable(address, error) from error
        self.root: Final[str] = str(root).rstrip("/") or "/"
        self.is_local: Final = isinstance(self._fs, LocalFileSystem)

    def is_folder(self) -> bool:
        """Whether the address is a folder, or a prefix with files."""
        return bool(self._call(self._fs.isdir, self.root))

    def is_file(self) -> bool:
        """Whether the address is a file."""
        return bool(self._call(self._fs.isfile, self.root))

    def glob(self) -> list[str]:
        """Return the full paths that the address matches, sorted."""
        return sorted(map(str, self._call(self._fs.glob, self.root)))

    def walk(self) -> Iterator[str]:
        """Yield the names of all files, in any order; a link to a folder is not followed."""
        if self.is_local:
            yield from _walk(self.root)
            return
        try:
            for folder, _, names in self._fs.walk(self.root):
                prefix = str(folder).removeprefix(self.root).strip("/")
                for name in names:
                    if name:
                        yield f"{prefix}/{name}" if prefix else str(name)
        except Exception as error:
            raise _unavailable(self.address, error) from error

    def names(self) -> list[str]:
        """Return the names of the files and folders directly in the folder, or []."""
        if self.is_local:
            folder = Path(self.root)
            return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        if not self._call(self._fs.exists, self.root):
            return []
        found = self._call(self._fs.ls, self.root, detail=False)
        return sorted(PurePosixPath(str(path)).name for path in found)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for random reads; raise FileNotFoundError, PermissionError, StorageError.

        Reads from a storage that does not respond raise StorageError, too.
        """
        path = self._path(name)
        if self.is_local:
            return Path(path).open("rb")
        return io.BufferedReader(_RemoteFile(self._call(self._fs.open, path, "rb"), self._call))

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file, or None if it is larger than `limit` bytes.

        `name` may also be a URL of any storage. Raise FileNotFoundError, PermissionError,
        StorageError.
        """
        if "://" in name:
            folder, _, file_name = name.rpartition("/")
            return Storage(folder).read(file_name, limit)
        path = self._path(name)
        if self.is_local:
            if not Path(path).is_file():  # opening a pipe would block
                raise FileNotFoundError(path)
            with Path(path).open("rb") as file:
                data = file.read(limit + 1)
            return None if len(data) > limit else data
        if (self._call(self._fs.size, path) or 0) > limit:  # None if a web server names no size
            return None
        return bytes(self._call(self._fs.cat_file, path))

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a file from `start`; fewer if it ends."""
        path = self._path(name)
        if self.is_local:
            with Path(path).open("rb") as file:
                file.seek(start)
                return file.read(size)
        return bytes(self._call(self._fs.cat_file, path, start=start, end=start + size))

    def write(self, name: str, data: bytes) -> None:
        """Write a file that appears complete or not at all; raise StorageError."""
        path = self._path(name)
        if not self.is_local:
            self._call(self._fs.pipe_file, path, data)
            return
        target = Path(path)
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StorageError(f"{target} cannot be written: {error.strerror}") from error

    def upload(self, file: Path, name: str) -> None:
        """Move a local file to the storage; it appears complete or not at all."""
        path = self._path(name)
        if self.is_local:
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            file.replace(path)
        else:
            self._call(self._fs.put_file, str(file), path)
            file.unlink()

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._call(self._fs.rm_file, self._path(name))

    def _path(self, name: str) -> str:
        return name if name.startswith("/") else f"{self.root}/{name}"

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:
            # A storage that does not respond must not turn thousands of images into errors.
            raise _unavailable(self.address, error) from error


class _RemoteFile(io.RawIOBase):
    """A file of fsspec whose errors are those of `call`."""

    def __init__(self, file: Any, call: Callable[..., Any]) -> None:
        super().__init__()
        self._file, self._call = file, call

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._call(self._file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._call(self._file.seek, offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def has_magic(address: str) -> bool:
    """Whether an address is a pattern."""
    return any(character in address for character in _MAGIC) and not Path(address).exists()


def _walk(root: str) -> Iterator[str]:
    """Yield the relative paths of all files without a list of the files of a folder."""
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118 (10x faster)
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif not entry.is_dir():
                    yield name


def _unavailable(address: str, error: Exception) -> StorageError:
    return StorageError(
        f"{address} does not respond, or refuses access ({type(error).__name__}); check the "
        "address and the credentials, then run the same command again"
    )
