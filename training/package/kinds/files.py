"""What every kind asks about a file: its first bytes, its entries, its checksum."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from training.package.model_spec import PackageError

_LFS_POINTER: Final = b"version https://git-lfs"
_WEB_PAGES: Final = (b"<!doctype html", b"<html")
MAX_JSON_BYTES: Final = 50_000_000  # a config with 100,000 labels has 5 MB


def first_bytes(path: Path, count: int = 16) -> bytes:
    """Return the first bytes of a file; none for a folder or a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def zip_names(path: Path) -> tuple[str, ...]:
    """Return the names of a zip's entries; none for another file."""
    if first_bytes(path, 4) != b"PK\x03\x04":
        return ()
    try:
        with ZipFile(path) as archive:
            return tuple(archive.namelist())
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return ()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raise PackageError if it holds none."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise PackageError(f"{path} is larger than {MAX_JSON_BYTES:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PackageError(f"{path} cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{path} is not valid JSON") from error
    if not isinstance(content, dict):
        raise PackageError(f"{path} holds no JSON object")
    return content


def require_content(path: Path) -> None:
    """Raise PackageError if a file is missing, or holds nothing of what its name promises."""
    if not path.is_file():
        raise PackageError(f"file not found: {path}")
    start = first_bytes(path, 64)
    if start.startswith(_LFS_POINTER):
        raise PackageError(f"{path} is a pointer of Git LFS, not the file; type: git lfs pull")
    if start.lstrip().lower().startswith(_WEB_PAGES):
        raise PackageError(
            f"{path} is a web page; download the file itself, for instance by the link 'raw'"
        )
    if not start:
        raise PackageError(f"{path} is empty or cannot be read; copy or download it again")


def verify_checksum(path: Path, expected: str | None) -> str:
    """Return the SHA-256 of a file.

    Raise PackageError if it is missing, has no content, or has another checksum than `expected`.
    """
    require_content(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise PackageError(f"{path} has SHA-256 {digest}, which differs from --sha256")
    return digest
