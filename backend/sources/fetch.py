"""An address -> a folder of the cache. Blocks, for as long as the other side likes."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, PositiveFloat, PositiveInt

from backend.inference.errors import ArtifactError, SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.address import Address
from backend.sources.cache import Cache, Current, Shelf
from backend.sources.remote import LocalFile, Remote, Sink

MAX_MANIFEST: Final = 4_000_000  # bytes


class Order(BaseModel, frozen=True):
    """What to fetch, where to, and within which bounds."""

    address: Address
    cache: Path
    max_bytes: PositiveInt
    seconds: PositiveFloat
    allow_private: bool = False


class Fetched(BaseModel, frozen=True):
    """The verified folder; `note` says so where it is an earlier copy."""

    folder: Path
    note: str = ""


class Outcome(BaseModel, frozen=True):
    """What came of an order: `fetched`, or else the reason in `error`."""

    fetched: Fetched | None = None
    error: str = ""


def fetch(order: Order) -> Fetched:
    """Return a verified copy of what `order.address` gives now.

    The last copy does where nobody answers, and a copy that the pin names needs nobody to answer.
    Raises SourceError or ArtifactError, naming the address without its secrets.
    """
    address, cache = order.address, Cache(order.cache)
    try:
        with cache.hold(address.key, order.seconds) as shelf:
            # A pin is part of the key, so what is kept here is what it names.
            pinned = _kept(shelf) if address.pin else None
            return Fetched(folder=pinned or _renew(shelf, order))
    except UnreachableError as error:
        if copy := last_copy(order):
            return Fetched(folder=copy, note=f"{address.shown}: {error}; using the copy kept here")
        raise UnreachableError(f"{address.shown}: {error}") from error
    except SourceError as error:
        raise SourceError(f"{address.shown}: {error}") from error


def last_copy(order: Order) -> Path | None:
    """What the address gave last, if it is kept and undamaged."""
    return _kept(Cache(order.cache).shelf(order.address.key))


def _kept(shelf: Shelf) -> Path | None:
    current = shelf.current()
    return shelf.find(current.revision) if current else None


def _renew(shelf: Shelf, order: Order) -> Path:
    remote = _remote(order)
    with shelf.draft() as draft:
        try:
            if order.address.architecture:
                return _checkpoint(shelf, remote, draft, order)
            return _folder(shelf, remote, draft, order)
        except ArtifactError as error:
            raise SourceError(
                str(error).removeprefix(f"{draft}: ").replace(str(draft), "it")
            ) from error


def _folder(shelf: Shelf, remote: Remote, draft: Path, order: Order) -> Path:
    """Fetch the manifest, then what it lists, unless that is here already."""
    left = order.max_bytes
    with Sink(draft / artifact.MANIFEST, MAX_MANIFEST, "its manifest is far too long") as sink:
        version = remote.save(artifact.MANIFEST, sink)
    _check_pin(order.address, sink)
    current = Current(revision=sink.sha256, origin=sink.sha256, version=version or "")
    if copy := shelf.find(sink.sha256):
        shelf.note(current)
        return copy
    left -= sink.size
    for name, expected in artifact.read_manifest(draft).files.items():
        with Sink(draft / name, left) as sink:
            remote.save(name, sink)
        if sink.sha256 != expected:
            raise SourceError(f"{name} is not the file that the manifest describes (SHA-256)")
        left -= sink.size
    copy = shelf.keep(draft)
    shelf.note(current)
    return copy


def _checkpoint(shelf: Shelf, remote: Remote, draft: Path, order: Order) -> Path:
    """Fetch the file, unless it is the one we know, and make a model folder of it."""
    known = shelf.current()
    copy = shelf.find(known.revision) if known else None
    file = draft / f"checkpoint{Path(order.address.filename).suffix.lower()}"
    with Sink(file, order.max_bytes) as sink:
        version = remote.save("", sink, unless=known.version if known and copy else "")
    if version is None and copy:
        return copy
    _check_pin(order.address, sink)
    if not (known and copy and known.origin == sink.sha256):
        # torch takes seconds to import, and only this needs it.
        from backend.inference.models import checkpoint

        try:
            checkpoint.write_folder(
                file, str(order.address.architecture), draft, order.address.filename
            )
        except ArtifactError as error:
            raise SourceError(str(error).replace(str(file), "it")) from error
        file.unlink()
        copy = shelf.keep(draft)
    shelf.note(Current(revision=copy.name, origin=sink.sha256, version=version or ""))
    return copy


def _check_pin(address: Address, sink: Sink) -> None:
    if address.pin not in {None, sink.sha256}:
        raise SourceError(f"its SHA-256 is {sink.sha256}, not the one that the address pins")


def _remote(order: Order) -> Remote:
    address = order.address
    if address.scheme == "gs":
        from backend.sources.gcs import Bucket

        return Bucket(address.location)
    if address.scheme == "file":
        return LocalFile(Path(address.location))
    from backend.sources.https import Https

    return Https(address.location, allow_private=order.allow_private)
