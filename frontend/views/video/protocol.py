"""Messages of the decoding worker over a pipe: a kind (one byte), a length, and the body."""

import json
import math
import struct
from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

from frontend.views.video.limits import MAX_SECONDS

HEADER: Final = struct.Struct(">cI")
_FRAME: Final = struct.Struct(">dI")

ErrorCode = Literal[
    "unreadable",  # not a supported container
    "codec",  # not a supported codec
    "no_video",
    "pixels",
    "empty",  # no frame could be decoded
    "damaged",
    "short",  # the clip ends earlier than its header states
    "memory",
    "slow",
    "crashed",
]


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """Header of a clip. `seconds` is None if the header states no duration.

    If browsers cannot play the clip itself (`is_playable`), the worker writes a preview.
    """

    codec: str
    width: int
    height: int
    seconds: float | None
    is_playable: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame at `time`, in seconds of the player's clock; `image` and `thumbnail` are JPEG."""

    time: float
    image: bytes
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class End:
    """End of the decoding. `seconds` is where the last decoded frame ends.

    `is_truncated` is true if the clip continues after that. `preview` is the preview's container.
    """

    seconds: float = 0.0
    error: ErrorCode | None = None
    is_truncated: bool = False
    preview: Literal["mp4", "webm"] | None = None


Message = ClipInfo | Frame | End


def encode_message(message: Message) -> bytes:
    """Return a message with its header."""
    match message:
        case Frame():
            kind = b"F"
            head = _FRAME.pack(message.time, len(message.image))
            body = head + message.image + message.thumbnail
        case ClipInfo():
            kind, body = b"I", json.dumps(asdict(message)).encode()
        case End():
            kind, body = b"E", json.dumps(asdict(message)).encode()
    return HEADER.pack(kind, len(body)) + body


def decode_message(kind: bytes, body: bytes) -> Message:
    """Return the message with this body; raise ValueError if it is invalid.

    A clip may have compromised the worker, so every value is validated.
    """
    try:
        if kind == b"F":
            time, size = _FRAME.unpack_from(body)
            images = body[_FRAME.size :]
            message: Message = Frame(time, images[:size], images[size:])
        else:
            message = {b"I": ClipInfo, b"E": End}[kind](**json.loads(body))
        if _is_valid(message):
            return message
    except (struct.error, TypeError, LookupError) as error:
        raise ValueError("malformed worker message") from error
    raise ValueError("worker message with invalid values")


def _is_valid(message: Message) -> bool:
    match message:
        case Frame():
            return 0 <= message.time <= MAX_SECONDS
        case ClipInfo():
            is_finite = message.seconds is None or 0 < message.seconds < math.inf
            return is_finite and isinstance(message.codec, str)
        case End():
            is_known = message.error is None or message.error in get_args(ErrorCode)
            return is_known and message.preview in (None, "mp4", "webm") and message.seconds >= 0
