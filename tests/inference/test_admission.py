"""Who is let in, refused, late or gone, and what is told of it."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from backend.inference.classifier import Classifier
from backend.inference.errors import DeadlineError, ImageError, InferenceError, QueueFullError
from backend.inference.models import artifact
from backend.inference.observer import SilentObserver
from tests.fake_models import GRAY, GrayRuntime, fake_loader, gray, write_model
from tests.inference.helpers import settled, together, until

pytestmark = pytest.mark.anyio

BAD = 9
SOON = 0.2  # seconds; only what is held waits as long
LONG = 60.0


class Heard(SilentObserver):
    """Writes down what was told of each picture."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def admitted(self) -> None:
        self.told.append("admitted")

    def shed(self, reason: str) -> None:
        self.told.append(reason)

    def expired(self) -> None:
        self.told.append("expired")

    def abandoned(self) -> None:
        self.told.append("abandoned")

    def answered(self, decode: float, queue: float, inference: float) -> None:
        assert min(decode, queue, inference) >= 0
        self.told.append("answered")

    def failed(self, cause: str | BaseException) -> None:
        self.told.append(f"failed: {type(cause).__name__}")

    def ends(self) -> list[str]:
        """How the pictures that were let in ended."""
        return sorted(one for one in self.told if one != "admitted")


class Place:
    """A classifier of gray pictures, its runtime and what is heard of it."""

    def __init__(
        self, folder: Path, *, concurrent: bool, side: int = 8, queue_size: int = 100
    ) -> None:
        self.side = side
        model = artifact.read(write_model(folder, preprocess=GRAY))
        self.runtime = GrayRuntime(concurrent=concurrent, bad=BAD)
        self.heard = Heard()

        self.classifier = Classifier(
            model,
            partial(fake_loader(self.runtime), model),
            threads=1,
            queue_size=queue_size,
            observer=self.heard,
        )

    async def busy(self) -> asyncio.Future[object]:
        """Hold the model with a picture of 0 on it."""
        self.runtime.hold()
        first = self.send(0)
        await until(lambda: self.runtime.batches == [[0]])
        return first

    def send(self, digit: int, within: float | None = None) -> asyncio.Future[object]:
        return asyncio.ensure_future(self.label(digit, within))

    async def label(self, digit: int, within: float | None = None) -> object:
        return (await self.classifier.classify(gray(digit, self.side), within)).top(1)[0].index

    async def queued(self, count: int) -> None:
        await until(lambda: self.classifier.waiting == count)


@pytest.fixture(params=[(True, 8), (True, 80), (False, 80)])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Tiny pictures, those that a runner decodes, and those that a decoder does."""
    concurrent, side = request.param
    place = Place(tmp_path, concurrent=concurrent, side=side)
    yield place
    place.runtime.release()
    place.classifier.close()


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Place]:
    """Room for two pictures."""
    place = Place(tmp_path, concurrent=True, queue_size=2)
    yield place
    place.runtime.release()
    place.classifier.close()


async def test_one_that_would_wait_longer_than_it_may_is_refused_at_once(place: Place) -> None:
    first = await place.busy()
    with pytest.raises(QueueFullError) as refused:
        await place.label(1, 1e-9)
    assert refused.value.retry_after > 0
    patient = place.send(2, LONG)
    place.runtime.release()
    assert await together(first, patient) == [0, 2]
    assert place.heard.told.count("too_slow") == 1
    assert place.heard.ends() == ["answered", "answered", "too_slow"]


async def test_the_time_to_come_back_after_grows_with_what_is_inside(place: Place) -> None:
    futures = [await place.busy()]
    waits = []
    for count in (5, 20):
        while len(futures) < count:
            futures.append(place.send(1))
        await place.queued(count - 1)
        with pytest.raises(QueueFullError) as refused:
            place.classifier.require_room(0)
        waits.append(refused.value.retry_after)
    assert waits[1] == pytest.approx(4 * waits[0])
    place.runtime.release()
    await together(*futures)


async def test_without_a_limit_of_time_nobody_is_too_slow(place: Place) -> None:
    futures = [await place.busy(), *(place.send(1) for _ in range(50))]
    await place.queued(50)
    place.classifier.require_room()
    place.runtime.release()
    assert await together(*futures) == [0] + [1] * 50


async def test_no_more_are_inside_than_the_queue_holds(narrow: Place) -> None:
    futures = [await narrow.busy(), narrow.send(1)]
    await narrow.queued(1)
    for _ in range(2):
        with pytest.raises(QueueFullError):
            await narrow.label(2)
    narrow.runtime.release()
    assert await together(*futures) == [0, 1]
    assert await narrow.label(2) == 2
    assert narrow.heard.told.count("queue_full") == 2
    assert narrow.heard.told.count("admitted") == narrow.heard.told.count("answered") == 3


async def test_pictures_that_still_are_decoded_count_as_inside(tmp_path: Path) -> None:
    place = Place(tmp_path, concurrent=False, side=80, queue_size=2)
    try:
        answers = await settled(*(place.send(i) for i in (1, 2, 3)))
    finally:
        place.classifier.close()
    assert answers[:2] == [1, 2]
    assert isinstance(answers[2], QueueFullError)


async def test_one_whose_time_is_over_is_told_so_and_never_reaches_the_model(
    place: Place,
) -> None:
    first = await place.busy()
    late, mate = place.send(1, SOON), place.send(2)
    with pytest.raises(DeadlineError, match=r"0\.2 s"):
        await late
    await place.queued(2)  # it lies there still, and is passed over
    place.runtime.release()
    assert await together(first, mate) == [0, 2]
    assert place.runtime.batches == [[0], [2]]
    assert place.heard.ends() == ["answered", "answered", "expired"]


async def test_one_on_which_the_model_hangs_is_late_too(place: Place) -> None:
    place.runtime.hold()
    with pytest.raises(DeadlineError):
        await place.label(1, SOON)
    place.runtime.release()
    assert await place.label(2, LONG) == 2
    assert place.heard.ends() == ["answered", "expired"]


async def test_one_that_is_cancelled_is_dropped_before_it_costs_anything(place: Place) -> None:
    first = await place.busy()
    gone, mate = place.send(1), place.send(2)
    await place.queued(2)
    gone.cancel()
    place.runtime.release()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await together(first, mate) == [0, 2]
    assert place.runtime.batches == [[0], [2]]
    assert place.heard.ends() == ["abandoned", "answered", "answered"]


async def test_those_that_gave_up_make_room_at_once(narrow: Place) -> None:
    first = await narrow.busy()
    gone = narrow.send(1)
    await narrow.queued(1)
    with pytest.raises(QueueFullError):
        narrow.classifier.require_room()
    gone.cancel()
    await settled(gone)
    narrow.classifier.require_room()
    mate = narrow.send(2)
    narrow.runtime.release()
    assert await together(first, mate) == [0, 2]


async def test_every_picture_that_was_let_in_ends_in_one_way(place: Place) -> None:
    first = await place.busy()
    late, gone, good, bad = place.send(1, SOON), place.send(2), place.send(3), place.send(BAD)
    broken = asyncio.ensure_future(place.classifier.classify(b"no picture"))
    await settled(late)
    gone.cancel()
    place.runtime.release()
    ends = await settled(first, late, gone, good, bad, broken)
    assert [ends[0], ends[3]] == [0, 3]
    assert [type(end) for end in (ends[1], ends[2], ends[4])] == [
        DeadlineError,
        asyncio.CancelledError,
        InferenceError,
    ]
    assert isinstance(ends[5], ImageError)
    assert place.heard.told.count("admitted") == 6
    assert place.heard.ends() == [
        "abandoned",
        "answered",
        "answered",
        "expired",
        "failed: InferenceError",
        "failed: UnsupportedImageError",
    ]
