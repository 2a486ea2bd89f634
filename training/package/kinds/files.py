"""What every kind asks about a file: its first bytes, its entries, its checksum."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from training.package.model_spec import PackageError

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


def verify_checksum(path: Path, expected: str | None) -> str:
    """Return the SHA-256 of a file; raise PackageError if it is missing or not as `expected`."""
    if not path.is_file():
        raise PackageError(f"file not found: {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise PackageError(f"{path} has SHA-256 {digest}, which differs from --sha256")
    return digest
