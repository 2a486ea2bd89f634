"""Versions of a model folder: a new one takes the place of its predecessor, which is kept.

models/pets/              the present version
models/.previous/pets@1/  an earlier one, which is not served
"""

import re
from pathlib import Path

from backend.inference.errors import ArtifactError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from training.package.model_spec import PackageError

PREVIOUS = ".previous"
VERSION_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


def next_version(folder: Path, requested: str | None = None) -> str:
    """Return the version of a new model in `folder`: `requested`, or one that is not used yet.

    The last number of the predecessor's version is counted up; without a predecessor it is 1.
    Raise PackageError if `requested` is invalid or in use, if the predecessor's version does not
    end in a number, or if `folder` exists and cannot be kept.
    """
    present = _read_version(folder) if folder.exists() else None
    if present is not None and _kept(folder, present).exists():
        raise PackageError(
            f"version {present} of {folder.name} exists twice; move "
            f"{_kept(folder, present)} to another place"
        )
    if requested is not None:
        if not re.fullmatch(VERSION_PATTERN, requested):
            raise PackageError(
                f"--version {requested!r}: a version may contain letters, digits, dots, dashes "
                "and underscores"
            )
        if requested == present or _kept(folder, requested).exists():
            raise PackageError(
                f"{folder.name} has a version {requested} already; choose another --version"
            )
        return requested
    match = re.fullmatch(r"(.*?)(\d+)", present or "0", re.DOTALL)
    if match is None:
        raise PackageError(
            f"{folder} has the version {present!r}, which does not end in a number; pass --version"
        )
    prefix, number = match[1], int(match[2]) + 1
    while _kept(folder, f"{prefix}{number}").exists():
        number += 1
    return f"{prefix}{number}"


def replace_folder(folder: Path, new: Artifact, version: str) -> Artifact:
    """Move a model to `folder` as `version`, and the predecessor to the folder that keeps it.

    `new` must be on the same file system as `folder`.
    """
    manifest = new.manifest.model_copy(update={"version": version})
    artifact.write_manifest(new.folder, manifest)
    if folder.exists():
        kept = _kept(folder, _read_version(folder))
        kept.parent.mkdir(exist_ok=True)
        folder.rename(kept)
    return artifact.read(new.folder.rename(folder))


def _kept(folder: Path, version: str) -> Path:
    name = re.sub(r"[^\w.-]", "_", version)
    return folder.parent / PREVIOUS / f"{folder.name}@{name}"


def _read_version(folder: Path) -> str:
    try:
        return artifact.read_manifest(folder).version
    except ArtifactError as error:
        raise PackageError(
            f"{folder} exists, but is not a model folder that can be read; move it to another "
            "place, or choose another name"
        ) from error
