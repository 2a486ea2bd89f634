"""The raw limit does the same work as Prism."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from backend.inference.images.loading import decode
from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo
from benchmarks.serving import raw_limit
from benchmarks.serving.assets import photograph

EXAMPLE = Path(__file__).parents[3] / "frontend" / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def photo() -> bytes:
    return photograph(EXAMPLE, (500, 375), 87_000, seed=0)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (2000, 1500)])
def test_a_photo_becomes_the_input_that_prism_makes_of_it(size: tuple[int, int]) -> None:
    data = photograph(EXAMPLE, size, 60_000, seed=1)
    ours = raw_limit.prepare(data)
    prisms = prepare_photo(decode(data), PhotoPreprocess())
    assert ours.shape == (1, *prisms.shape)
    assert ours.dtype == prisms.dtype
    # One step of 255 is 0.02 here; decoding at a reduced scale rounds differently.
    assert float(np.abs(ours[0] - prisms).mean()) < 0.1


class Counted:
    """A forward pass that counts."""

    def __init__(self) -> None:
        self.calls, self._lock = 0, Lock()

    def __call__(self, batch: raw_limit.Floats) -> raw_limit.Floats:
        with self._lock:
            self.calls += 1
        return batch


@pytest.mark.parametrize(
    "arrange",
    [
        lambda forward, pictures: raw_limit.one_after_the_other(forward, pictures, 0.1)[0],
        lambda forward, pictures: raw_limit.decoding_beside(forward, pictures, 0.1),
        lambda forward, pictures: raw_limit.runners(forward, pictures, 0.1, 2),
    ],
)
def test_each_arrangement_counts_what_went_through_the_forward_pass(
    photo: bytes, arrange: Callable[[Counted, list[bytes]], float]
) -> None:
    forward = Counted()
    rate = arrange(forward, [photo])
    assert forward.calls > 0
    assert 0 < rate <= forward.calls / 0.1


def test_the_fastest_arrangement_is_the_limit() -> None:
    limit = raw_limit.Limit({"a": 1.0, "b": 3.0, "c": 2.0}, bare_ms=5.0)
    assert (limit.best, limit.rate) == ("b", 3.0)
