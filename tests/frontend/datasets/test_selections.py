"""Selections of images."""

import threading
import weakref

import pytest

from frontend.datasets import archives, selections
from frontend.datasets.selections import ImageSelection, SelectionStore
from frontend.service.predictions import ImageFile, PredictionRequest
from frontend.state import memory
from tests.frontend.app import zipped
from tests.frontend.datasets.test_archives import File
from tests.frontend.samples import MODEL, make_classification

REQUEST = PredictionRequest(MODEL)


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def select(size: int = 1) -> ImageSelection:
    return ImageSelection([ImageFile("a.png", b"a" * size)])


def test_selection_is_found_by_its_token_until_it_is_discarded() -> None:
    store, selection = SelectionStore[ImageSelection](), select()
    store.put(selection)
    assert store.find(selection.token) is selection
    assert store.find("another") is None
    assert store.find(None) is None
    store.discard(selection.token)
    assert store.find(selection.token) is None


def test_selection_without_access_expires() -> None:
    clock = Clock()
    store, accessed, unused = SelectionStore[ImageSelection](clock), select(), select()
    store.put(accessed)
    store.put(unused)
    clock.now = selections.EXPIRE_AFTER - 1
    store.find(accessed.token)
    clock.now = selections.EXPIRE_AFTER + 1
    assert store.find(accessed.token) is accessed
    assert store.find(unused.token) is None


def test_selection_expires_on_an_idle_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selections, "EXPIRE_AFTER", 0.1)
    store, unused = SelectionStore[ImageSelection](), select()
    store.put(unused)
    finalized = threading.Event()
    weakref.finalize(unused, finalized.set)
    del unused
    assert finalized.wait(20)


def test_least_recently_used_selection_is_evicted() -> None:
    store, first, second, third = (
        SelectionStore[ImageSelection](max_bytes=100),
        *(select(40) for _ in range(3)),
    )
    store.put(first)
    store.put(second)
    store.find(first.token)
    store.put(third)
    assert [store.find(one.token) for one in (first, second, third)] == [first, None, third]


def test_latest_selection_may_exceed_the_limit() -> None:
    store, large = SelectionStore[ImageSelection](max_bytes=100), select(400)
    store.put(large)
    assert store.find(large.token) is large


def test_default_limit_is_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda _: 400)
    store, first, second = SelectionStore[ImageSelection](), select(60), select(60)
    store.put(first)
    store.put(second)
    assert [store.find(one.token) for one in (first, second)] == [None, second]


def test_selections_with_too_many_open_zips_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selections, "MAX_OPEN_ZIPS", 1)
    file = File("mine.zip", zipped(**{"a.png": b"a", "b.png": b"b"}))
    first, second = (ImageSelection(archives.extract(file)[0]) for _ in range(2))
    store = SelectionStore[ImageSelection]()
    store.put(first)
    store.put(second)
    assert [store.find(one.token) for one in (first, second)] == [None, second]


def test_selection_lists_pending_images() -> None:
    images = [ImageFile("a.png", b"a"), ImageFile("b.png", b"b")]
    one, seven = ImageSelection(images), make_classification(("7", 1.0))
    one.cache.put(images[0], REQUEST, seven)
    assert one.outcomes(REQUEST) == [seven, None]
    assert one.pending(REQUEST) == [images[1]]
    assert one.pending(PredictionRequest(MODEL, 0.9)) == images
