"""Model addresses: `LOCATION[#ARCHITECTURE][@sha256=HEX]`."""

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from backend.inference.errors import ArtifactError
from backend.sources.registered import RegisteredModel, parse_registered, registry_of

CHECKPOINTS: Final = frozenset({".pt", ".pth", ".safetensors"})

_PIN: Final = re.compile(r"@sha256=([0-9a-fA-F]{64})$")
_CONTROLS: Final = re.compile(r"[\x00-\x20]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ARCHITECTURE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/._-]*")


class Address(BaseModel, frozen=True):
    """Address of a model.

    `location` is an absolute path, a URL or a model in a registry: a bare checkpoint if there is an
    `architecture`, else a model folder. `pin` is the SHA-256 of the checkpoint, or of the folder's
    manifest.
    """

    location: str
    architecture: str | None = None
    pin: str | None = None

    @property
    def scheme(self) -> str:
        """Scheme of the location: `file`, `https`, `http`, `gs`, `mlflow` or `wandb`."""
        if match := _SCHEME.match(self.location):
            return match[1].lower()
        return registry_of(self.location) or "file"

    @property
    def registered(self) -> RegisteredModel | None:
        """The model in a registry that the location names, or None for other locations."""
        return parse_registered(self.location) if registry_of(self.location) else None

    @property
    def folder(self) -> Path | None:
        """The model folder if it is on the local disk, else None."""
        is_local = self.scheme == "file" and self.architecture is None
        return Path(self.location) if is_local else None

    @property
    def redacted(self) -> str:
        """The location without credentials and query, for messages."""
        return redact(self.location)

    @property
    def filename(self) -> str:
        """The last component of the path."""
        return _path(self.location).name

    @property
    def key(self) -> str:
        """A file name for this address that reveals no secrets."""
        text = "\n".join((self.location, self.architecture or "", self.pin or ""))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def parse_address(text: str, models_dir: Path) -> Address:
    """Parse an address; a bare name is a folder in `models_dir`.

    Raise ArtifactError, with one line without secrets, if it is malformed or a local path that does
    not exist.
    """
    rest, pin = text, None
    if match := _PIN.search(text):
        rest, pin = text[: match.start()], match[1].lower()
    location, hash_sign, architecture = rest.rpartition("#") if "#" in rest else (rest, "", "")
    if location.startswith("models:/"):  # as MLflow writes it
        location = f"mlflow:{location}"
    if registry_of(location):
        parse_registered(location)
    shown = redact(location)
    if "@sha256=" in rest:
        raise ArtifactError(f"{shown}: @sha256= requires 64 hexadecimal digits")
    if hash_sign and not _ARCHITECTURE.fullmatch(architecture):
        raise ArtifactError(f"{shown}: # requires the name of an architecture")
    if registry_of(location):
        if hash_sign:
            raise ArtifactError(f"{shown}: a registry contains model folders; omit #{architecture}")
        return Address(location=location, pin=pin)
    location = _locate(location, models_dir)
    is_checkpoint = _path(location).suffix.lower() in CHECKPOINTS
    if is_checkpoint and not hash_sign:
        raise ArtifactError(
            f"{shown} is a bare checkpoint: add its architecture, for example #mnist-net"
        )
    if hash_sign and not is_checkpoint:
        kinds = ", ".join(sorted(CHECKPOINTS))
        raise ArtifactError(f"{shown}: an architecture requires a checkpoint ({kinds})")
    return Address(location=location, architecture=architecture or None, pin=pin)


def redact(location: str) -> str:
    """Return a URL without credentials, query and fragment; return a path unchanged."""
    # Control characters and spaces in the scheme do not make a URL a path.
    url = location if _SCHEME.match(location) else _CONTROLS.sub("", location)
    if not _SCHEME.match(url):
        return location
    try:
        scheme, host, path, _, _ = urlsplit(url)
    except ValueError:
        return "the URL"
    if not host:  # too many slashes: the credentials are in the path
        path = "/" + path.rpartition("@")[2].lstrip("/")
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", ""))


def _locate(location: str, models_dir: Path) -> str:
    if match := _SCHEME.match(location):
        _check_url(location, match[1].lower())
        return location
    try:
        return _locate_path(location, models_dir)
    except OSError as error:  # the name is too long, or a folder is not accessible
        raise ArtifactError(f"{redact(location)!r}: this path cannot be accessed") from error


def _locate_path(location: str, models_dir: Path) -> str:
    path = Path(location)
    if not path.is_absolute() and not re.match(r"\.\.?[/\\]", location):
        if not location or path.name != location or location == "..":
            raise ArtifactError(
                f"{redact(location)!r} is neither a name nor an address; a path starts with ./"
            )
        path = models_dir / location
        if not path.is_dir():
            raise ArtifactError(
                f"{redact(location)!r}: {models_dir} contains no model folder of that name"
            )
    if not path.exists():
        raise ArtifactError(f"{redact(location)!r}: this path does not exist")
    return str(path.absolute())


def _check_url(location: str, scheme: str) -> None:
    if scheme not in {"https", "http", "gs"}:
        raise ArtifactError(
            f"{scheme}:// is not supported; addresses are paths, https://, gs://, mlflow: or wandb:"
        )
    try:
        parts = urlsplit(location)
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if scheme == "gs":
        is_valid = bool(_BUCKET.fullmatch(location.removeprefix("gs://").partition("/")[0]))
    if not is_valid or re.search(r"[\s\\\x00-\x1f]", location):
        raise ArtifactError(f"{redact(location)} is not a valid address")


def _path(location: str) -> PurePosixPath | Path:
    return PurePosixPath(urlsplit(location).path) if _SCHEME.match(location) else Path(location)
