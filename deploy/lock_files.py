"""The lock files of the container images: exact versions with the hashes of their files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from deploy.container_images import ROOT

_ENTRY = re.compile(r"([A-Za-z0-9._-]+)==([^\s\\;]+)((?:\s*\\?\s*--hash=sha256:[0-9a-f]{64})*)\s*")
_FOLDER = ROOT / "requirements"
OPTIONAL_LOCKS = (
    "gcs",
    "otel",
    "postgres",
    "grpc",
    "mcp",
)  # build arguments of the backend's image
OPTIONAL_FRONTEND_LOCKS = ("otel", "postgres")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a lock file."""

    version: str
    hashes: tuple[str, ...]  # SHA-256 of each of its files, hexadecimal


class LockError(ValueError):
    """A lock file does not have the expected form, or two of them disagree."""


def normalize(name: str) -> str:
    """Return the normalized name of a package, as PEP 503 defines it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(name: str) -> dict[str, LockedPackage]:
    """Return the packages of requirements/NAME.lock by normalized name.

    Raise LockError if an entry is not a name, one version and hashes.
    """
    text = (_FOLDER / f"{name}.lock").read_text()
    packages = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.M).strip()):
        match = _ENTRY.fullmatch(entry)
        if not match:
            raise LockError(f"requirements/{name}.lock: unexpected entry {entry[:60]!r}")
        hashes = tuple(re.findall(r"[0-9a-f]{64}", match[3]))
        packages[normalize(match[1])] = LockedPackage(match[2], hashes)
    return packages


def read_locks(names: Iterable[str]) -> dict[str, LockedPackage]:
    """Return the packages of several lock files; raise LockError if they disagree on a version."""
    packages: dict[str, LockedPackage] = {}
    for name in names:
        for package, locked in read_lock(name).items():
            if packages.setdefault(package, locked).version != locked.version:
                raise LockError(
                    f"{package} has two versions: {packages[package].version}, and "
                    f"{locked.version} in requirements/{name}.lock"
                )
    return packages
