"""A decoder that never returns does not keep a thread from other images."""

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from backend.inference import batcher
from backend.inference.classifier import Classifier
from backend.inference.errors import DeadlineError
from backend.inference.images import image_reader, loading
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.fake_models import fake_loader, write_model
from tests.images import encoded, seven
from tests.inference.helpers import wait_until

pytestmark = pytest.mark.anyio

SMALL, LARGE = (300, 300), (4000, 3000)
Sizes = list[tuple[int, int]]


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sizes]:
    """The sizes of the images whose decoder has been called and has not returned."""
    sizes: Sizes = []
    release = threading.Event()
    load = loading.load_rgb

    def block(image: Image.Image, **options: bool) -> Image.Image:
        if image.width % 2:
            sizes.append(image.size)
            release.wait()
        return load(image, **options)

    monkeypatch.setattr(loading, "load_rgb", block)
    yield sizes
    release.set()


@pytest.fixture
def classifier(tmp_path: Path) -> Iterator[Classifier]:
    model = artifact.read(write_model(tmp_path))
    load = partial(fake_loader(FakeRuntime(10)), model)
    yield (made := Classifier(model, load, threads=1, reader=ImageReader()))
    made.close()


def expire(monkeypatch: pytest.MonkeyPatch, seconds: float = -1.0) -> None:
    monkeypatch.setattr(batcher, "STUCK_SECONDS", seconds)
    monkeypatch.setattr(image_reader, "STUCK_SECONDS", seconds)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_image_is_classified_after_one_whose_decoder_hangs(
    size: tuple[int, int],
    classifier: Classifier,
    blocked: Sizes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanging = encoded(Image.new("RGB", (size[0] + 1, size[1])))
    ordinary = encoded(seven(size[1]).resize(size))
    first = asyncio.ensure_future(classifier.classify(hanging, 5))
    await wait_until(lambda: blocked)
    expire(monkeypatch)
    second = asyncio.ensure_future(classifier.classify(ordinary, 20))
    await wait_until(lambda: count_stuck(classifier) == 1)
    expire(monkeypatch, 30.0)
    assert (await second).top(1)
    with pytest.raises(DeadlineError):
        await first


def count_stuck(classifier: Classifier) -> int:
    batchers = (classifier._batcher, classifier._decoders, classifier._large._batcher)
    return sum(each._replaced for each in batchers)
