"""Fetch a model address into the cache. Blocking, without a time limit."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, PositiveFloat, PositiveInt

from backend.inference.errors import ArtifactError, SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.address import Address
from backend.sources.cache import Cache, CacheEntry, CurrentRevision
from backend.sources.registered import RegisteredModel
from backend.sources.remote import DownloadFile, LocalFile, Remote

MAX_MANIFEST: Final = 4_000_000  # bytes


class FetchRequest(BaseModel, frozen=True):
    """What to fetch, the cache folder, and the limits."""

    address: Address
    cache: Path
    max_bytes: PositiveInt
    seconds: PositiveFloat
    allow_private: bool = False


class FetchedFolder(BaseModel, frozen=True):
    """The verified folder; `note` is a warning if it is an earlier copy.

    `version` is that of the source: of a registered model, what `current_version` returns.
    """

    folder: Path
    version: str = ""
    note: str = ""


class FetchResult(BaseModel, frozen=True):
    """Result of a request: the fetched folder, or the reason of the failure."""

    fetched: FetchedFolder | None = None
    error: str = ""


def fetch(request: FetchRequest) -> FetchedFolder:
    """Return a verified copy of the current model at `request.address`.

    If the remote is unreachable, return the last copy. A copy that matches the pin is returned
    without contacting the remote. Raise SourceError or ArtifactError with the redacted address.
    """
    address, cache = request.address, Cache(request.cache)
    try:
        with cache.lock(address.key, request.seconds) as entry:
            # The pin is part of the key: a copy of this entry matches it.
            pinned = _verified_copy(entry) if address.pin else None
            folder = pinned or _fetch_remote(entry, request)
            current = entry.current()
            return FetchedFolder(folder=folder, version=current.version if current else "")
    except UnreachableError as error:
        if copy := last_copy(request, f"{address.redacted}: {error}"):
            return copy
        raise UnreachableError(f"{address.redacted}: {error}") from error
    except SourceError as error:
        raise SourceError(f"{address.redacted}: {error}") from error


def last_copy(request: FetchRequest, reason: str) -> FetchedFolder | None:
    """Return the copy fetched last, with a note, or None if it is missing or damaged."""
    entry = Cache(request.cache).entry(request.address.key)
    current, copy = entry.current(), _verified_copy(entry)
    if current is None or copy is None:
        return None
    note = f"{reason}; using the cached copy"
    return FetchedFolder(folder=copy, version=current.version, note=note)


def current_version(address: Address, *, allow_private: bool) -> str:
    """Return the version that an address in a registry refers to now, with one request.

    The version of an alias may change; other versions are returned without a request. Raise
    SourceError with the redacted address.
    """
    model = address.registered
    if model is None:
        raise SourceError(f"{address.redacted}: it is not in a registry")
    if model.version is not None:
        return model.version
    try:
        return _find_version(address.scheme, model, allow_private=allow_private)
    except UnreachableError as error:
        raise UnreachableError(f"{address.redacted}: {error}") from error
    except SourceError as error:
        raise SourceError(f"{address.redacted}: {error}") from error


def _verified_copy(entry: CacheEntry) -> Path | None:
    current = entry.current()
    return entry.find(current.revision) if current else None


def _fetch_remote(entry: CacheEntry, request: FetchRequest) -> Path:
    remote = _open_remote(request)
    with entry.draft() as draft:
        try:
            if request.address.architecture:
                return _fetch_checkpoint(entry, remote, draft, request)
            return _fetch_folder(entry, remote, draft, request)
        except ArtifactError as error:
            reason = str(error).removeprefix(f"{draft}: ").replace(str(draft), "it")
            raise SourceError(reason) from error


def _fetch_folder(entry: CacheEntry, remote: Remote, draft: Path, request: FetchRequest) -> Path:
    """Fetch the manifest, and its files unless the cache already has that revision."""
    remaining = request.max_bytes
    with DownloadFile(draft / artifact.MANIFEST, MAX_MANIFEST, "its manifest is too large") as file:
        version = remote.download(artifact.MANIFEST, file)
    _check_pin(request.address, file)
    current = CurrentRevision(revision=file.sha256, origin=file.sha256, version=version or "")
    if copy := entry.find(file.sha256):
        entry.set_current(current)
        return copy
    remaining -= file.size
    for name, expected in artifact.read_manifest(draft).files.items():
        with DownloadFile(draft / name, remaining) as file:
            remote.download(name, file)
        if file.sha256 != expected:
            raise SourceError(f"{name} does not match the manifest (SHA-256)")
        remaining -= file.size
    copy = entry.commit(draft)
    entry.set_current(current)
    return copy


def _fetch_checkpoint(
    entry: CacheEntry, remote: Remote, draft: Path, request: FetchRequest
) -> Path:
    """Fetch a checkpoint unless it is unchanged, and write a model folder from it."""
    current = entry.current()
    copy = entry.find(current.revision) if current else None
    path = draft / f"checkpoint{Path(request.address.filename).suffix.lower()}"
    with DownloadFile(path, request.max_bytes) as file:
        version = remote.download("", file, current.version if current and copy else "")
    if version is None and copy:
        return copy
    _check_pin(request.address, file)
    if not (current and copy and current.origin == file.sha256):
        # Imported here: torch takes seconds to import.
        from backend.inference.models import checkpoint

        address = request.address
        try:
            checkpoint.write_folder(path, str(address.architecture), draft, address.filename)
        except ArtifactError as error:
            raise SourceError(str(error).replace(str(path), "it")) from error
        path.unlink()
        copy = entry.commit(draft)
    current = CurrentRevision(revision=copy.name, origin=file.sha256, version=version or "")
    entry.set_current(current)
    return copy


def _check_pin(address: Address, file: DownloadFile) -> None:
    if address.pin not in {None, file.sha256}:
        raise SourceError(f"its SHA-256 is {file.sha256}, which does not match the pin")


def _open_remote(request: FetchRequest) -> Remote:
    address = request.address
    if address.scheme == "gs":
        from backend.sources.gcs import GcsRemote

        return GcsRemote(address.location)
    if address.scheme == "file":
        return LocalFile(Path(address.location))
    if model := address.registered:
        return _open_registered(address.scheme, model, allow_private=request.allow_private)
    from backend.sources.https import HttpsRemote

    return HttpsRemote(address.location, allow_private=request.allow_private)


def _open_registered(scheme: str, model: RegisteredModel, *, allow_private: bool) -> Remote:
    if scheme == "mlflow":
        from backend.sources.mlflow import MlflowRemote

        return MlflowRemote(model, allow_private=allow_private)
    from backend.sources.wandb import WandbRemote

    return WandbRemote(model, allow_private=allow_private)


def _find_version(scheme: str, model: RegisteredModel, *, allow_private: bool) -> str:
    if scheme == "mlflow":
        from backend.sources import mlflow

        return mlflow.MlflowRegistry(allow_private=allow_private).find_version(model)
    from backend.sources import wandb

    return wandb.WandbApi(allow_private=allow_private).find_version(model)
