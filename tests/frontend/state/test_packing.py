"""Results as bytes."""

import pickle
import zlib
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from frontend.state import packing
from frontend.state.packing import pack, unpack
from frontend.state.stored_result import PackingError


@dataclass(frozen=True)
class Part:
    name: str
    counts: NDArray[np.intp]


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    share: float | None
    image: bytes


WHOLE = Whole((Part("a", np.arange(6).reshape(2, 3)),), 0.5, b"\x89PNG")


def test_result_is_the_same_after_packing() -> None:
    found = unpack(pack(WHOLE), Whole)
    assert (found.share, found.image, found.parts[0].name) == (0.5, b"\x89PNG", "a")
    assert found.parts[0].counts.dtype == np.intp
    assert found.parts[0].counts.tolist() == [[0, 1, 2], [3, 4, 5]]
    found.parts[0].counts[0, 0] = 7  # not read-only


def test_numbers_of_numpy_become_numbers() -> None:
    assert unpack(pack({"a": np.float64(0.5)}), dict[str, float]) == {"a": 0.5}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zlib",
        pack(WHOLE)[:-1],
        zlib.compress(b"no MessagePack"),
        zlib.compress(pickle.dumps(WHOLE)),
        pack({"parts": [], "share": "half", "image": b""}),
        pack({"share": 0.5}),
        pack({"parts": [{"name": "a", "counts": {"shape": [3], "data": b"12345678"}}]}),
        pack({"parts": [{"name": "a", "counts": 3}], "share": None, "image": b""}),
    ],
)
def test_damaged_or_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(PackingError):
        unpack(content, Whole)


def test_content_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_BYTES", 1000)
    with pytest.raises(PackingError, match="too large"):
        unpack(zlib.compress(msgspec.msgpack.encode(bytes(10_000))), bytes)


def test_other_objects_cannot_be_packed() -> None:
    with pytest.raises(NotImplementedError, match="object cannot be stored"):
        pack({"a": object()})
