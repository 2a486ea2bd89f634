"""A drawing as a data URL, `data:image/png;base64,...`: found in a body, and decoded."""

import base64
import binascii
from typing import Final
from urllib.parse import parse_qs

import orjson

from backend.api.errors import MalformedRequestError, MissingFileError

FIELD: Final = "drawing_data"
_MAX_FIELDS: Final = 100
_MAX_ESCAPES: Final = 2_000_000  # base64 needs them for "+", "/" and "=" only


def find(body: bytes) -> str:
    """Find the data URL in a body: JSON, a urlencoded form, or the URL itself.

    Raises MissingFileError where there is none, MalformedRequestError where the form is absurd.
    """
    text = body.decode("ascii", "replace").strip()
    if text.startswith("{"):
        return _in_json(text)
    if f"{FIELD}=" in text and not text.startswith("data:"):
        return _in_form(text)
    if not text:
        raise missing()
    return text


def decode(text: str) -> bytes:
    """Decode a data URL, or bare base64; raises MalformedRequestError where it is neither."""
    _, _, payload = text.rpartition(",")
    # A plus sign that was not quoted in a query arrives as a space; some clients fold lines, leave
    # the padding out, or use the alphabet that is safe in URLs.
    payload = payload.strip().replace(" ", "+").replace("\n", "").replace("\r", "")
    payload = payload.replace("-", "+").replace("_", "/")
    payload += "=" * (-len(payload.rstrip("=")) % 4) if not payload.endswith("=") else ""
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequestError(
            f"{FIELD} is not a data URL. Send data:image/png;base64, and the picture in base64."
        ) from error


def missing() -> MissingFileError:
    """What is said where no drawing was sent."""
    return MissingFileError(f"Send the drawing as {FIELD}=data:image/png;base64,…")


def _in_form(text: str) -> str:
    if text.count("%") > _MAX_ESCAPES:
        raise MalformedRequestError("The form has too many escapes.")
    try:
        fields = parse_qs(text, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise MalformedRequestError("The form has too many fields.") from error
    if FIELD not in fields:
        raise missing()
    return fields[FIELD][0]


def _in_json(text: str) -> str:
    try:
        value = orjson.loads(text)[FIELD]
    except (orjson.JSONDecodeError, KeyError) as error:
        raise missing() from error
    if not isinstance(value, str) or not value:
        raise missing()
    return value
