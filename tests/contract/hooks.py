"""Extensions of Schemathesis: real images, and responses of one JSON object per line."""

from typing import Any

import orjson
import schemathesis
from hypothesis import strategies as st
from schemathesis.transport.serialization import Binary

from tests.images import encoded, noise, seven

_IMAGES = [
    *(encoded(seven(), form) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")),
    encoded(noise(64, 48)),
]
_FILES = st.sampled_from(_IMAGES)

schemathesis.openapi.media_type("image/*", _FILES)
schemathesis.openapi.format("binary", _FILES.map(Binary))


@schemathesis.deserializer("application/x-ndjson")
def first_line(_: Any, response: Any) -> Any:
    """Return the first line."""
    return orjson.loads(response.content.split(b"\n", 1)[0] or b"null")
