"""Storing classifications, and the time for their thumbnails."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ulid import ULID

from backend.history import history as history_module
from backend.history.history import History
from backend.inference.images.image_reader import ImageReader
from tests.history.records import make_classification
from tests.images import encoded, seven
from tests.inference.helpers import TIMEOUT

pytestmark = pytest.mark.anyio

SEVEN = encoded(seven())


class BlockingReader(ImageReader):
    """Decodes no image until `released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.reads = 0

    @contextmanager
    def read(self, *args: Any, **options: Any) -> Iterator[Image.Image]:
        self.reads += 1
        assert self.released.wait(TIMEOUT)
        with super().read(*args, **options) as image:
            yield image


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def reader() -> Iterator[BlockingReader]:
    blocking = BlockingReader()
    yield blocking
    blocking.released.set()


@pytest.fixture
async def history(tmp_path: Path, reader: BlockingReader) -> AsyncIterator[History]:
    """A history that stores thumbnails."""
    history = History("", tmp_path, days=0, image_reader=reader)
    await history.start()
    yield history
    reader.released.set()
    await history.close()


async def test_thumbnail_is_stored(history: History, reader: BlockingReader) -> None:
    reader.released.set()
    classification = make_classification()
    assert await history.add(classification, SEVEN, TIMEOUT)
    assert history.store.get(classification["id"])["has_thumbnail"]


@pytest.mark.parametrize("seconds", [0.05, 0, -1])
async def test_thumbnail_that_exceeds_the_deadline_is_omitted(
    history: History, reader: BlockingReader, seconds: float
) -> None:
    classification = make_classification()
    assert await history.add(classification, SEVEN, seconds)
    assert not history.store.get(classification["id"])["has_thumbnail"]
    assert reader.reads == (seconds > 0)


async def test_classification_does_not_wait_long_for_its_thumbnail(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "THUMBNAIL_TIMEOUT", 0.05)
    assert await history.add(make_classification(), SEVEN)


async def test_decoders_that_hang_do_not_occupy_other_threads(
    history: History, reader: BlockingReader
) -> None:
    for _ in range(8):
        classification = make_classification(id=str(ULID()))
        assert await history.add(classification, SEVEN, 0.02)
    names = [thread.name for thread in threading.enumerate()]
    assert sum(name.startswith("prism-thumbnail") for name in names) == reader.reads == 2
