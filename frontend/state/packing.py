"""Results as bytes and back: compressed MessagePack of dataclasses. Imports no Streamlit.

content = pack(result)
result = unpack(content, Evaluation)

Only the fields that the types declare are read, each checked against its type; nothing is executed.
"""

import zlib
from typing import Any, Final, TypeVar, get_args

import msgspec
import numpy as np

from frontend.state.stored_result import PackingError

MAX_BYTES: Final = 500_000_000  # of an unpacked result
T = TypeVar("T")


def pack(value: object) -> bytes:
    """Return a dataclass, whose fields may contain others, arrays and bytes, as bytes."""
    return zlib.compress(msgspec.msgpack.encode(value, enc_hook=_encode), level=1)


def unpack(content: bytes, kind: type[T]) -> T:
    """Return the dataclass `kind`; raise PackingError if the content does not fit it."""
    try:
        decompressor = zlib.decompressobj()
        packed = decompressor.decompress(content, MAX_BYTES)
        if not decompressor.eof:
            raise PackingError("the content is incomplete or too large")
        return msgspec.msgpack.decode(packed, type=kind, dec_hook=_decode)
    except (zlib.error, msgspec.DecodeError, TypeError, ValueError) as error:
        raise PackingError(str(error)) from error


def _encode(value: object) -> object:
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "data": value.tobytes()}
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} cannot be stored")


def _decode(kind: Any, value: Any) -> object:
    """Return an array of the type that the field declares, such as NDArray[np.float64]."""
    _, dtype = get_args(kind)
    data = np.frombuffer(value["data"], get_args(dtype)[0])
    return data.reshape(value["shape"]).copy()
