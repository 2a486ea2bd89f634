"""The bytes of an image are freed when it has been answered, without a garbage collection."""

import gc
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from backend.inference.batcher import Batch, Batcher
from backend.inference.classifier import Classifier
from backend.inference.errors import ImageError
from backend.inference.models import artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.fake_models import fake_loader, write_model
from tests.images import encoded, noise
from tests.inference.helpers import TIMEOUT, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def classifier(tmp_path: Path) -> Iterator[Classifier]:
    model = artifact.read(write_model(tmp_path))
    classifier = Classifier(model, partial(fake_loader(FakeRuntime(10)), model))
    gc.disable()
    yield classifier
    gc.enable()
    classifier.close()


SIZES = [(100, 100), (1500, 1500)]  # an ordinary and a large image


@pytest.mark.parametrize("size", SIZES)
async def test_classified_image_is_freed(classifier: Classifier, size: tuple[int, int]) -> None:
    data = encoded(noise(*size))
    references = sys.getrefcount(data)
    await classifier.classify(data)
    await wait_until(lambda: sys.getrefcount(data) == references)


@pytest.mark.parametrize("size", SIZES)
async def test_refused_image_is_freed(classifier: Classifier, size: tuple[int, int]) -> None:
    data = encoded(noise(*size))[:-1000]
    references = sys.getrefcount(data)
    with pytest.raises(ImageError):
        await classifier.classify(data)
    await wait_until(lambda: sys.getrefcount(data) == references)


async def test_image_that_was_cancelled_in_the_queue_is_freed() -> None:
    release = threading.Event()

    def wait(batch: Batch[bytes]) -> list[int]:
        release.wait(2 * TIMEOUT)  # longer than the test waits
        return [0] * len(batch.items)

    batcher: Batcher[bytes, int] = Batcher(wait, max_batch=1)
    try:
        running = batcher.submit(b"first")
        await wait_until(lambda: not batcher.queued)
        data = bytes(1000)
        references = sys.getrefcount(data)
        queued = batcher.submit(data)
        queued.cancel()
        await wait_until(lambda: sys.getrefcount(data) == references)
        release.set()
        assert await running == 0
        assert await batcher.submit(b"last") == 0
    finally:
        release.set()
        batcher.close()
