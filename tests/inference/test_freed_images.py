"""The bytes of an image are freed when it has been answered, without a garbage collection."""

import gc
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from backend.inference.classifier import Classifier
from backend.inference.errors import ImageError
from backend.inference.models import artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.fake_models import fake_loader, write_model
from tests.images import encoded, noise
from tests.inference.helpers import wait_until

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
