"""Classifier: rejection, deadlines and cancellation of images, and the observer's events."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from backend.inference.admission import WorkRejectedError
from backend.inference.classifier import Classifier
from backend.inference.errors import DeadlineError, ImageError, InferenceError, QueueFullError
from backend.inference.models import artifact
from backend.inference.observer import Observer
from tests.fake_models import GRAY, GrayRuntime, fake_loader, gray, write_model
from tests.inference.helpers import gather_outcomes, gather_results, wait_until

pytestmark = pytest.mark.anyio

BAD_DIGIT = 9
SHORT_LIMIT = 0.2  # seconds; only blocked images take as long
LONG_LIMIT = 60.0


class RecordingObserver(Observer):
    """Records the events of each image."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def admitted(self) -> None:
        self.events.append("admitted")

    def shed(self, reason: str) -> None:
        self.events.append(reason)

    def expired(self) -> None:
        self.events.append("expired")

    def abandoned(self) -> None:
        self.events.append("abandoned")

    def answered(self, decode: float, queue: float, inference: float) -> None:
        assert min(decode, queue, inference) >= 0
        self.events.append("answered")

    def failed(self, cause: str | BaseException) -> None:
        self.events.append(f"failed: {type(cause).__name__}")

    def endings(self) -> list[str]:
        """Return all events but `admitted`, sorted."""
        return sorted(event for event in self.events if event != "admitted")


class Service:
    """A classifier of gray images with its runtime and a recording observer."""

    def __init__(
        self,
        folder: Path,
        *,
        concurrent: bool,
        side: int = 8,
        queue_size: int = 100,
        max_batch: int = 32,
    ) -> None:
        self.side = side
        model = artifact.read(write_model(folder, preprocess=GRAY))
        self.runtime = GrayRuntime(concurrent=concurrent, bad=BAD_DIGIT)
        self.observer = RecordingObserver()

        self.classifier = Classifier(
            model,
            partial(fake_loader(self.runtime), model),
            threads=1,
            queue_size=queue_size,
            max_batch=max_batch,
            observer=self.observer,
        )

    async def block(self, client: str = "") -> asyncio.Future[object]:
        """Block the model with an image of 0."""
        self.runtime.hold()
        first = self.send(0, client=client)
        await wait_until(lambda: self.runtime.batches == [[0]])
        return first

    def send(
        self, digit: int, time_limit: float | None = None, client: str = ""
    ) -> asyncio.Future[object]:
        return asyncio.ensure_future(self.classify(digit, time_limit, client))

    async def classify(
        self, digit: int, time_limit: float | None = None, client: str = ""
    ) -> object:
        result = await self.classifier.classify(gray(digit, self.side), time_limit, client)
        return result.top(1)[0].index

    async def wait_until_queued(self, count: int) -> None:
        await wait_until(lambda: self.classifier.queued == count)


@pytest.fixture(params=[(True, 8), (True, 80), (False, 80)])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """Tiny images, images decoded by a runner, and images decoded by a decoder thread."""
    concurrent, side = request.param
    service = Service(tmp_path, concurrent=concurrent, side=side)
    yield service
    service.runtime.release()
    service.classifier.close()


@pytest.fixture
def small_service(tmp_path: Path) -> Iterator[Service]:
    """A service with a queue of two images."""
    service = Service(tmp_path, concurrent=True, queue_size=2)
    yield service
    service.runtime.release()
    service.classifier.close()


async def test_image_that_would_miss_its_deadline_is_rejected(service: Service) -> None:
    first = await service.block()
    with pytest.raises(QueueFullError) as rejected:
        await service.classify(1, 1e-9)
    assert rejected.value.retry_after > 0
    unhurried = service.send(2, LONG_LIMIT)
    service.runtime.release()
    assert await gather_results(first, unhurried) == [0, 2]
    assert service.observer.events.count("too_slow") == 1
    assert service.observer.endings() == ["answered", "answered", "too_slow"]


async def test_retry_after_is_proportional_to_images_in_flight(service: Service) -> None:
    futures = [await service.block()]
    waits = []
    for count in (5, 20):
        while len(futures) < count:
            futures.append(service.send(1))
        await service.wait_until_queued(count - 1)
        with pytest.raises(QueueFullError) as rejected:
            service.classifier.require_capacity(0)
        waits.append(rejected.value.retry_after)
    assert waits[1] == pytest.approx(4 * waits[0], rel=0.01)
    service.runtime.release()
    await gather_results(*futures)


async def test_images_without_time_limit_are_not_rejected_as_too_slow(service: Service) -> None:
    futures = [await service.block(), *(service.send(1) for _ in range(50))]
    await service.wait_until_queued(50)
    service.classifier.require_capacity()
    service.runtime.release()
    assert await gather_results(*futures) == [0] + [1] * 50


async def test_full_queue_rejects_images(small_service: Service) -> None:
    futures = [await small_service.block(), small_service.send(1)]
    await small_service.wait_until_queued(1)
    for _ in range(2):
        with pytest.raises(QueueFullError):
            await small_service.classify(2)
    small_service.runtime.release()
    assert await gather_results(*futures) == [0, 1]
    assert await small_service.classify(2) == 2
    assert small_service.observer.events.count("queue_full") == 2
    assert (
        small_service.observer.events.count("admitted")
        == small_service.observer.events.count("answered")
        == 3
    )


async def test_images_being_decoded_count_towards_the_queue(tmp_path: Path) -> None:
    service = Service(tmp_path, concurrent=False, side=80, queue_size=2)
    try:
        outcomes = await gather_outcomes(*(service.send(i) for i in (1, 2, 3)))
    finally:
        service.classifier.close()
    assert outcomes[:2] == [1, 2]
    assert isinstance(outcomes[2], QueueFullError)


async def test_expired_image_raises_deadline_error_and_is_not_run(
    service: Service,
) -> None:
    first = await service.block()
    expired, other = service.send(1, SHORT_LIMIT), service.send(2)
    with pytest.raises(DeadlineError, match=r"0\.2 s"):
        await expired
    await service.wait_until_queued(2)  # the expired image is still queued, and skipped later
    service.runtime.release()
    assert await gather_results(first, other) == [0, 2]
    assert service.runtime.batches == [[0], [2]]
    assert service.observer.endings() == ["answered", "answered", "expired"]


async def test_deadline_applies_during_the_forward_pass(service: Service) -> None:
    service.runtime.hold()
    with pytest.raises(DeadlineError):
        await service.classify(1, SHORT_LIMIT)
    service.runtime.release()
    assert await service.classify(2, LONG_LIMIT) == 2
    assert service.observer.endings() == ["answered", "expired"]


async def test_cancelled_image_is_not_run(service: Service) -> None:
    first = await service.block()
    cancelled, other = service.send(1), service.send(2)
    await service.wait_until_queued(2)
    cancelled.cancel()
    service.runtime.release()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await gather_results(first, other) == [0, 2]
    assert service.runtime.batches == [[0], [2]]
    assert service.observer.endings() == ["abandoned", "answered", "answered"]


async def test_cancelled_image_frees_its_place_immediately(small_service: Service) -> None:
    first = await small_service.block()
    cancelled = small_service.send(1)
    await small_service.wait_until_queued(1)
    with pytest.raises(QueueFullError):
        small_service.classifier.require_capacity()
    cancelled.cancel()
    await gather_outcomes(cancelled)
    small_service.classifier.require_capacity()
    other = small_service.send(2)
    small_service.runtime.release()
    assert await gather_results(first, other) == [0, 2]


async def test_each_admitted_image_ends_in_exactly_one_event(service: Service) -> None:
    first = await service.block()
    expired, cancelled, good, bad = (
        service.send(1, SHORT_LIMIT),
        service.send(2),
        service.send(3),
        service.send(BAD_DIGIT),
    )
    broken = asyncio.ensure_future(service.classifier.classify(b"not an image"))
    await gather_outcomes(expired)
    cancelled.cancel()
    service.runtime.release()
    outcomes = await gather_outcomes(first, expired, cancelled, good, bad, broken)
    assert [outcomes[0], outcomes[3]] == [0, 3]
    assert [type(outcome) for outcome in (outcomes[1], outcomes[2], outcomes[4])] == [
        DeadlineError,
        asyncio.CancelledError,
        InferenceError,
    ]
    assert isinstance(outcomes[5], ImageError)
    assert service.observer.events.count("admitted") == 6
    assert service.observer.endings() == [
        "abandoned",
        "answered",
        "answered",
        "expired",
        "failed: InferenceError",
        "failed: UnsupportedImageError",
    ]


async def test_images_of_clients_take_turns(tmp_path: Path) -> None:
    service = Service(tmp_path, concurrent=True, max_batch=1)
    try:
        futures = [await service.block()]
        futures += [service.send(1, client="busy") for _ in range(5)]
        await service.wait_until_queued(5)
        futures.append(service.send(2, client="other"))
        await service.wait_until_queued(6)
        service.runtime.release()
        await gather_results(*futures)
        assert [2] in service.runtime.batches[:3]
    finally:
        service.runtime.release()
        service.classifier.close()


async def test_client_leaves_places_in_the_queue_to_another(tmp_path: Path) -> None:
    service = Service(tmp_path, concurrent=True, queue_size=4)
    try:
        futures = [await service.block("busy")]
        futures += [service.send(1, client="busy") for _ in range(2)]
        await service.wait_until_queued(2)
        with pytest.raises(QueueFullError):
            await service.classify(1, client="busy")
        futures.append(service.send(2, client="other"))
        service.runtime.release()
        assert await gather_results(*futures) == [0, 1, 1, 2]
    finally:
        service.runtime.release()
        service.classifier.close()


async def test_large_image_needs_capacity_of_the_queue_of_large_images(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def reject(_: object, time_limit: float | None, client: str) -> None:
        asked.append((time_limit, client))
        raise WorkRejectedError("too_slow", 3.0)

    monkeypatch.setattr(service.classifier._large, "require_capacity", reject)
    await service.classify(1, 5.0, "a")
    with pytest.raises(QueueFullError):
        await service.classifier.classify(gray(1, 2000), 5.0, "a")
    assert not service.classifier.has_capacity(5.0, "a", gray(1, 2000))
    assert asked == [(5.0, "a")] * 2
    assert service.observer.events.count("too_slow") == 1


@pytest.mark.parametrize(("side", "count"), [(80, 1), (2000, 0)])
async def test_only_ordinary_images_in_flight_limit_the_threads_of_large_ones(
    tmp_path: Path, side: int, count: int
) -> None:
    service = Service(tmp_path, concurrent=True, side=side)
    try:
        future = await service.block()
        assert service.classifier._large._ordinary == count
        service.runtime.release()
        await gather_results(future)
        assert service.classifier._large._ordinary == 0
    finally:
        service.runtime.release()
        service.classifier.close()
