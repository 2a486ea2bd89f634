"""Shadows classify in spare capacity, and nothing that fails has an effect."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from backend import shadows
from backend.history.errors import HistoryUnavailableError
from backend.history.shadows import ShadowRecord
from backend.history.store import Store
from backend.inference.errors import InferenceError, QueueFullError
from backend.inference.head_classifier import AnyClassifier, HeadClassifier
from backend.inference.types import ClassificationResult, Timings
from backend.registry import index
from backend.served_model import ServedModel
from backend.shadows import MAX_IMAGES, Shadows

pytestmark = pytest.mark.anyio

RESULT = ClassificationResult(
    ("ant", "bee"),
    np.array([0.25, 0.75], np.float32),
    np.array([1, 0]),
    Timings(decode=1, queue=2, inference=4),
)
ACTIVE = cast(AnyClassifier, object())  # with another network than that of the shadow


class FakeHead(HeadClassifier):
    """A shadow whose network is its own."""

    def __init__(self, error: Exception | None = None) -> None:
        self.images: list[bytes] = []
        self._error = error

    async def classify_as_shadow(
        self, data: bytes, time_limit: float | None = None
    ) -> ClassificationResult:
        """Return the result, or raise the error."""
        self.images.append(data)
        if self._error is not None:
            raise self._error
        return RESULT


class FakeStore:
    """Collects the records, or raises an error."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.records: list[ShadowRecord] = []

    def add_shadows(self, records: list[ShadowRecord]) -> None:
        """Store the records."""
        if self.error is not None:
            raise self.error
        self.records += records


class Service:
    """A model with a shadow; `activity` is None while images of requests are in flight."""

    def __init__(self, error: Exception | None = None, share: float = 1) -> None:
        self.head = FakeHead(error)
        self.store = FakeStore()
        self.activity: int | None = 0
        record = index.ShadowRecord(version=2, share=share, since=datetime.now(UTC))
        model = _Model(self.head)
        self.shadows = Shadows(
            lambda name: (record, cast(ServedModel, model)) if name == "bugs" else None,
            lambda: cast(Store, self.store),
            lambda: self.activity,
            draw=lambda: 0.5,
        )

    def offer(self, image: bytes, name: str = "bugs") -> None:
        self.shadows.offer(name, image.decode(), image, ACTIVE, RESULT)


class _Model:
    def __init__(self, head: FakeHead) -> None:
        self.name = "bugs"
        self.manifest = SimpleNamespace(version="2")
        self.classifier: Any = None  # not loaded yet
        self._head = head

    async def load(self) -> FakeHead:
        return self._head


async def settle(service: Service) -> None:
    """Wait until no image waits."""
    await asyncio.gather(*service.shadows._images)


async def test_result_is_stored_for_the_classification() -> None:
    service = Service()
    service.offer(b"a")
    service.offer(b"b", "others")  # has no shadow
    await settle(service)
    await service.shadows.close()
    assert service.store.records == [
        {
            "id": "a",
            "version": "2",
            "prediction": "bee",
            "confidence": 0.75,
            "in_distribution": None,
            "milliseconds": 5,
        }
    ]


@pytest.mark.parametrize(("share", "images"), [(0.5, 0), (0.51, 1)])
async def test_only_the_share_is_classified(share: float, images: int) -> None:
    service = Service(share=share)
    service.offer(b"a")
    await settle(service)
    assert len(service.head.images) == images
    await service.shadows.close()


async def test_images_wait_for_spare_capacity_and_others_are_skipped() -> None:
    service = Service()
    service.activity = None
    for number in range(MAX_IMAGES + 3):
        service.offer(b"%d" % number)
    await asyncio.sleep(0.1)
    assert service.head.images == []
    service.activity = 0
    await settle(service)
    assert service.head.images == [b"%d" % number for number in range(MAX_IMAGES)]
    await service.shadows.close()


async def test_image_is_skipped_without_spare_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "_MAX_WAIT", 0.05)
    service = Service()
    service.activity = None
    service.offer(b"a")
    await settle(service)
    assert service.head.images == []
    await service.shadows.close()
    assert service.store.records == []


async def test_failure_is_logged_once_and_full_queues_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for error, logged in ((QueueFullError("full", 1), 0), (InferenceError("failed"), 1)):
        caplog.clear()
        service = Service(error)
        for _ in range(3):
            service.offer(b"a")
            await settle(service)
        await service.shadows.close()
        assert len(service.head.images) == 3
        assert caplog.text.count("the shadow of bugs failed") == logged


@pytest.mark.parametrize("error", [HistoryUnavailableError(), RuntimeError("disk")])
async def test_database_that_fails_loses_only_results(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadows, "_COMMIT_SECONDS", 0.001)
    service = Service()
    service.store.error = error
    service.offer(b"a")
    await settle(service)
    assert service.shadows._committing is not None
    await service.shadows._committing
    service.store.error = None
    service.offer(b"b")
    await settle(service)
    await service.shadows.close()
    assert [each["id"] for each in service.store.records] == ["b"]


async def test_waiting_images_do_not_delay_the_shutdown() -> None:
    service = Service()
    service.activity = None
    service.offer(b"a")
    await service.shadows.close()
    assert service.head.images == []
