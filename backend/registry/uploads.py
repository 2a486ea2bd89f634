"""Checks of an uploaded taught model, before it is loaded: sizes, then texts.

Nothing in an upload is executed: a manifest is JSON, a head is safetensors, a card is text. Loading
the model checks its tensors and its backbone.
"""

import hashlib
import math
import unicodedata
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from backend.inference.models import artifact
from backend.inference.models.artifact import Manifest
from backend.inference.models.head import MAX_HEAD_BYTES
from backend.registry.errors import InvalidModelError, UploadTooLargeError

MAX_MANIFEST_BYTES: Final = 500_000
MAX_CARD_BYTES: Final = 200_000
MAX_LABELS: Final = 1_000
MAX_LABEL_LENGTH: Final = 100  # characters
MAX_TEXT_LENGTH: Final = 2_000  # characters of the title, the description, the license
MAX_METRICS: Final = 100
MAX_METRIC_NAME: Final = 64  # characters

_MAX_HEADER_BYTES: Final = 10_000  # of a head, whose tensors have three names
LIMITS: Final = {
    "manifest": MAX_MANIFEST_BYTES,
    "head": MAX_HEAD_BYTES,
    "card": MAX_CARD_BYTES,
}
_UNWANTED: Final = {"Cc", "Cs", "Zl", "Zp"}  # control characters, surrogates, line separators
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def require_size(part: str, size: int) -> None:
    """Raise UploadTooLargeError if the part `manifest`, `head` or `card` exceeds its limit."""
    if size > LIMITS[part]:
        raise too_large_error(part)


def too_large_error(part: str) -> UploadTooLargeError:
    """Return the error for a part that exceeds its limit."""
    return UploadTooLargeError(f"The part '{part}' is larger than {LIMITS[part]:,} bytes.")


def read_manifest(document: object, name: str) -> Manifest:
    """Return the manifest in a JSON document, under the name of the URL.

    Raise InvalidModelError unless it is that of a linear head with usable labels and texts.
    """
    if not isinstance(document, dict):
        raise InvalidModelError("The manifest is not a JSON object.")
    _check_labels(document.get("labels"))
    # The service computes the checksums, and chooses the name and the version.
    document = document | {"files": {}, "name": name, "version": str(document.get("version") or 1)}
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        location = ".".join(str(part) for part in first["loc"])[:100]
        raise InvalidModelError(f"The manifest is invalid: {location}: {first['msg']}.") from error
    if manifest.backbone is None:
        raise InvalidModelError(
            f"The manifest must have the architecture {artifact.LINEAR_HEAD} and a backbone: only "
            "taught models can be uploaded."
        )
    for field in ("version", "title", "description", "license"):
        _check_text(field, getattr(manifest, field) or "", MAX_TEXT_LENGTH)
    if manifest.calibration:
        _check_text("calibration.source", manifest.calibration.source, MAX_TEXT_LENGTH)
    for each in manifest.label_ids or ():
        _check_text("label_ids", each, MAX_LABEL_LENGTH)
    if len(manifest.metrics) > MAX_METRICS:
        raise InvalidModelError(f"metrics has more than {MAX_METRICS} figures.")
    for metric, value in manifest.metrics.items():
        _check_text("metrics", metric, MAX_METRIC_NAME)
        if not math.isfinite(value):
            raise InvalidModelError(f"metrics: {metric} is not a finite number.")
    return manifest


def make_files(manifest: Manifest, head: bytes, card: bytes | None) -> Mapping[str, bytes]:
    """Return the files of a model folder, by name.

    Raise InvalidModelError for a card or a head that is obviously of another format; loading the
    files checks the tensors.
    """
    if int.from_bytes(head[:8], "little") > _MAX_HEADER_BYTES:
        raise InvalidModelError("The head is not a safetensors file with the tensors of a head.")
    files = {artifact.HEAD: head}
    if card is not None:
        try:
            card.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidModelError("The card is not text in UTF-8.") from error
        files[artifact.CARD] = card
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    text = artifact.to_json(manifest.model_copy(update={"files": digests}))
    return {**files, artifact.MANIFEST: (text + "\n").encode()}


def _check_labels(labels: object) -> None:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidModelError("labels must be a list of texts.")
    if not 2 <= len(labels) <= MAX_LABELS:
        raise InvalidModelError(
            f"The model has {len(labels):,} labels; it must have 2 to {MAX_LABELS:,}."
        )
    for label in labels:
        _check_text("labels", label, MAX_LABEL_LENGTH)
        if not _visible(label) or label != label.strip():
            raise InvalidModelError("A label is empty, or begins or ends with a space.")
    if len({_visible(label) for label in labels}) < len(labels):
        raise InvalidModelError("Two labels are the same, or look the same.")


def _visible(label: str) -> str:
    """Return what distinguishes a label for its readers: without invisible characters."""
    shown = (each for each in label if unicodedata.category(each) != "Cf")
    return unicodedata.normalize("NFC", "".join(shown)).strip()


def _check_text(field: str, text: str, max_length: int) -> None:
    if len(text) > max_length:
        raise InvalidModelError(f"{field}: a text has more than {max_length:,} characters.")
    allowed = {"\n", "\t"} if field == "description" else set()
    for character in set(text) - allowed:
        if character in _BIDI or unicodedata.category(character) in _UNWANTED:
            raise InvalidModelError(f"{field}: a text contains a control character.")
