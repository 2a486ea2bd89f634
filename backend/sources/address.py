"""Where a model lies, as the operator writes it: `LOCATION[#ARCHITECTURE][@sha256=HEX]`."""

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from backend.inference.errors import ArtifactError

CHECKPOINTS: Final = frozenset({".pt", ".pth", ".safetensors"})

_PIN: Final = re.compile(r"@sha256=([0-9a-fA-F]{64})$")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ARCHITECTURE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/._-]*")


class Address(BaseModel, frozen=True):
    """Where one model lies.

    `location` is an absolute path or a URL; with an `architecture` it is a bare checkpoint, else a
    model folder. `pin` is the SHA-256 of the checkpoint, or of the folder's manifest.
    """

    location: str
    architecture: str | None = None
    pin: str | None = None

    @property
    def scheme(self) -> str:
        """`file`, `https`, `http` or `gs`."""
        found = _SCHEME.match(self.location)
        return found[1].lower() if found else "file"

    @property
    def folder(self) -> Path | None:
        """The model folder, where it lies on this machine and needs no fetching."""
        here = self.scheme == "file" and self.architecture is None
        return Path(self.location) if here else None

    @property
    def shown(self) -> str:
        """The location without credentials and query, for messages."""
        return without_secrets(self.location)

    @property
    def filename(self) -> str:
        """The last part of the location's path."""
        return _path(self.location).name

    @property
    def key(self) -> str:
        """A name for this address that is safe as a file's and gives nothing away."""
        text = "\n".join((self.location, self.architecture or "", self.pin or ""))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def parse(text: str, models_dir: Path) -> Address:
    """Read an address; a bare name is a folder in `models_dir`.

    Raises ArtifactError, in one line without secrets, where it is malformed, or where it is a local
    one and nothing lies there.
    """
    rest, pin = text, None
    if found := _PIN.search(text):
        rest, pin = text[: found.start()], found[1].lower()
    location, hash_sign, architecture = rest.rpartition("#") if "#" in rest else (rest, "", "")
    shown = without_secrets(location)
    if "@sha256=" in rest:
        raise ArtifactError(f"{shown}: @sha256= takes 64 hexadecimal digits")
    if hash_sign and not _ARCHITECTURE.fullmatch(architecture):
        raise ArtifactError(f"{shown}: # takes the name of an architecture")
    location = _locate(location, models_dir)
    bare = _path(location).suffix.lower() in CHECKPOINTS
    if bare and not hash_sign:
        raise ArtifactError(f"{shown} is a bare checkpoint: add its architecture, as #mnist-net")
    if hash_sign and not bare:
        kinds = ", ".join(sorted(CHECKPOINTS))
        raise ArtifactError(f"{shown}: an architecture goes with a checkpoint ({kinds}) only")
    return Address(location=location, architecture=architecture or None, pin=pin)


def without_secrets(location: str) -> str:
    """A URL without credentials, query and fragment; a path as it is."""
    if not _SCHEME.match(location):
        return location
    try:
        scheme, host, path, _, _ = urlsplit(location)
    except ValueError:
        return "the URL"
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", ""))


def _locate(location: str, models_dir: Path) -> str:
    if found := _SCHEME.match(location):
        _check_url(location, found[1].lower())
        return location
    here = Path(location)
    if not here.is_absolute() and not re.match(r"\.\.?[/\\]", location):
        if not location or here.name != location or location == "..":
            raise ArtifactError(f"{location!r} is neither a name nor an address; a path has ./")
        here = models_dir / location
        if not here.is_dir():
            raise ArtifactError(f"{location!r}: {models_dir} holds no model folder of it")
    if not here.exists():
        raise ArtifactError(f"{location!r}: there is nothing at this path")
    return str(here.absolute())


def _check_url(location: str, scheme: str) -> None:
    shown = without_secrets(location)
    if scheme not in {"https", "http", "gs"}:
        raise ArtifactError(f"{scheme}:// is not read; addresses are paths, https:// or gs://")
    try:
        parts = urlsplit(location)
        right = bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if scheme == "gs":
        right = bool(_BUCKET.fullmatch(location.removeprefix("gs://").partition("/")[0]))
    if not right or re.search(r"[\s\\\x00-\x1f]", location):
        raise ArtifactError(f"{shown} is not a well-formed address")


def _path(location: str) -> PurePosixPath | Path:
    return PurePosixPath(urlsplit(location).path) if _SCHEME.match(location) else Path(location)
