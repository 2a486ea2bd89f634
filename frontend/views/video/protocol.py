"""What the worker tells: messages of a letter, a length, and that many bytes, over a pipe."""

import json
import math
import struct
from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

from frontend.views.video.limits import SECONDS

HEADER: Final = struct.Struct(">cI")
_FRAME: Final = struct.Struct(">dI")

Trouble = Literal[
    "unreadable",  # not a container that is read
    "codec",  # a codec that is not read
    "no_video",
    "pixels",
    "empty",  # no frame came out
    "damaged",
    "short",  # it ended before it should
    "memory",
    "slow",
    "crashed",
]


@dataclass(frozen=True, slots=True)
class Info:
    """What the head of the clip says. `seconds` is None where it does not say how long it is.

    `plays` tells whether browsers play the clip itself; else a small copy of it is made.
    """

    codec: str
    width: int
    height: int
    seconds: float | None
    plays: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame at `time`, in seconds of the player's clock; both pictures are JPEG files."""

    time: float
    picture: bytes
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class End:
    """How the reading ended. `seconds` is where the last frame ends that was looked at.

    `cut` tells that the clip goes on after that; `preview` is the container of the small copy.
    """

    seconds: float = 0.0
    trouble: Trouble | None = None
    cut: bool = False
    preview: Literal["mp4", "webm"] | None = None


Message = Info | Frame | End


def packed(message: Message) -> bytes:
    """Return a message as its bytes."""
    match message:
        case Frame():
            kind = b"F"
            head = _FRAME.pack(message.time, len(message.picture))
            body = head + message.picture + message.thumbnail
        case Info():
            kind, body = b"I", json.dumps(asdict(message)).encode()
        case End():
            kind, body = b"E", json.dumps(asdict(message)).encode()
    return HEADER.pack(kind, len(body)) + body


def unpacked(kind: bytes, body: bytes) -> Message:
    """Return the message that these bytes are; raises ValueError where they are none.

    A clip may have taken the worker over, so nothing is believed that it cannot mean.
    """
    try:
        if kind == b"F":
            time, size = _FRAME.unpack_from(body)
            pictures = body[_FRAME.size :]
            message: Message = Frame(time, pictures[:size], pictures[size:])
        else:
            message = {b"I": Info, b"E": End}[kind](**json.loads(body))
        if _is_possible(message):
            return message
    except (struct.error, TypeError, LookupError) as error:
        raise ValueError("no message of the worker") from error
    raise ValueError("an impossible message of the worker")


def _is_possible(message: Message) -> bool:
    match message:
        case Frame():
            return 0 <= message.time <= SECONDS
        case Info():
            known = message.seconds is None or 0 < message.seconds < math.inf
            return known and isinstance(message.codec, str)
        case End():
            is_known = message.trouble is None or message.trouble in get_args(Trouble)
            return is_known and message.preview in (None, "mp4", "webm") and message.seconds >= 0
