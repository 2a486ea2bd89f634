"""Tests of the raw limit."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from backend.inference.images.loading import decode
from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo
from benchmarks.serving import raw_limit
from benchmarks.serving.images import create_photo

EXAMPLE = Path(__file__).parents[3] / "frontend" / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def photo() -> bytes:
    return create_photo(EXAMPLE, (500, 375), 87_000, seed=0)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (2000, 1500)])
def test_preprocessing_matches_prism(size: tuple[int, int]) -> None:
    content = create_photo(EXAMPLE, size, 60_000, seed=1)
    actual = raw_limit.preprocess(content)
    expected = prepare_photo(decode(content), PhotoPreprocess())
    assert actual.shape == (1, *expected.shape)
    assert actual.dtype == expected.dtype
    # One step of 255 is 0.02 here; decoding at a reduced scale rounds differently.
    assert float(np.abs(actual[0] - expected).mean()) < 0.1


class CountingForward:
    """A forward pass that counts its calls."""

    def __init__(self) -> None:
        self.calls, self._lock = 0, Lock()

    def __call__(self, batch: raw_limit.Floats) -> raw_limit.Floats:
        with self._lock:
            self.calls += 1
        return batch


@pytest.mark.parametrize(
    "run",
    [
        lambda forward, images: raw_limit.run_sequentially(forward, images, 0.1)[0],
        lambda forward, images: raw_limit.run_parallel_decoding(forward, images, 0.1),
        lambda forward, images: raw_limit.run_on_each_core(forward, images, 0.1, 2),
    ],
)
def test_arrangement_returns_forward_passes_per_second(
    photo: bytes, run: Callable[[CountingForward, list[bytes]], float]
) -> None:
    forward = CountingForward()
    rate = run(forward, [photo])
    assert forward.calls > 0
    assert 0 < rate <= forward.calls / 0.1


def test_fastest_arrangement_is_the_limit() -> None:
    limit = raw_limit.RawLimit({"a": 1.0, "b": 3.0, "c": 2.0}, latency_ms=5.0)
    assert (limit.best, limit.rate) == ("b", 3.0)
