"""Images in text: data URLs (RFC 2397) and base64, as browsers and other clients write them."""

import binascii
from base64 import b64decode
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

_MAX_ESCAPES: Final = 100_000  # base64 needs escapes for "+", "/" and "=" only

# Clients wrap lines, or use the URL-safe alphabet; a plus sign in a query arrives as a space.
_BASE64: Final = str.maketrans({" ": "+", "-": "+", "_": "/", "\n": None, "\r": None})


def decode_data_url(text: str) -> bytes:
    """Return the data in a data URL, also one that is percent-encoded as a whole, or in base64.

    Raise ValueError for anything else.
    """
    if text.count("%") > _MAX_ESCAPES:
        raise ValueError("too many escapes")
    text = text.strip()
    if text[:7].lower() == "data%3a":
        text = unquote(text, errors="strict")
    head, _, payload = text.rpartition(",")
    if "%" in payload:
        if head and "base64" not in head.lower():
            return unquote_to_bytes(payload)
        payload = unquote(payload, errors="strict")
    payload = payload.strip().translate(_BASE64)
    if not payload.endswith("="):
        payload += "=" * (-len(payload) % 4)
    try:
        return b64decode(payload, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
