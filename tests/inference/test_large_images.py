"""LargeImages: images that cost much wait for each other, and for no ordinary image's thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from backend.inference import batcher
from backend.inference.admission import WorkRejectedError
from backend.inference.errors import ClosedError, DeadlineError
from backend.inference.images.decoding_cost import DecodingCost
from backend.inference.images.image_reader import ImageReader, MemoryExceededError
from backend.inference.large_images import LargeImages
from tests.inference.helpers import TIMEOUT, gather_outcomes, gather_results, wait_until

pytestmark = pytest.mark.anyio

MEMORY = 1_000
SMALL = DecodingCost(1.0, 10)


class Decodings:
    """Decodings that block until they are released, in the order in which they started."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.reserved: list[int] = []
        self.threads: set[str] = set()
        self._release = threading.Semaphore(0)

    def work(self, name: str) -> Callable[[int], str]:
        def decode(reserved: int) -> str:
            self.started.append(name)
            self.reserved.append(reserved)
            self.threads.add(threading.current_thread().name)
            assert self._release.acquire(timeout=TIMEOUT)
            return name

        return decode

    def release(self, count: int = 1) -> None:
        self._release.release(count)


@pytest.fixture
def decodings() -> Iterator[Decodings]:
    decodings = Decodings()
    yield decodings
    decodings.release(1_000)


@pytest.fixture
def large() -> Iterator[LargeImages]:
    with ExitStack() as stack:
        yield create(stack, 1)


@pytest.fixture
def two_threads() -> Iterator[LargeImages]:
    with ExitStack() as stack:
        yield create(stack, 2)


def create(stack: ExitStack, threads: int) -> LargeImages:
    large = LargeImages(ImageReader(memory=MEMORY), threads)
    # Not close(): a failed test has not released its decodings yet.
    stack.callback(threading.Thread(target=large.close, daemon=True).start)
    return large


def start(
    large: LargeImages,
    work: Callable[[int], str],
    cost: DecodingCost = SMALL,
    client: str = "",
    deadline: float = float("inf"),
) -> asyncio.Future[str]:
    return asyncio.ensure_future(large.decode(work, cost, client, deadline))


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (DecodingCost(0.01, MEMORY // 32), False),
        (DecodingCost(0.06, 10), True),
        (DecodingCost(0.01, MEMORY // 32 + 1), True),
        (DecodingCost(0.01, 10, is_certain=False), True),
    ],
)
async def test_image_is_large_if_its_time_or_memory_is_or_may_be(
    large: LargeImages, cost: DecodingCost, *, expected: bool
) -> None:
    assert large.is_large(cost) is expected


async def test_threads_share_the_memory_of_ordinary_images(two_threads: LargeImages) -> None:
    assert two_threads.ordinary_memory == MEMORY // 32 // 2


async def test_all_threads_decode_while_no_ordinary_image_is_in_flight(
    two_threads: LargeImages, decodings: Decodings
) -> None:
    futures = [start(two_threads, decodings.work(name)) for name in "ab"]
    await wait_until(lambda: len(decodings.started) == 2)
    decodings.release(2)
    assert await gather_results(*futures) == ["a", "b"]


async def test_half_of_the_threads_decode_while_ordinary_images_are_in_flight(
    two_threads: LargeImages, decodings: Decodings
) -> None:
    with two_threads.ordinary_image():
        futures = [start(two_threads, decodings.work(name)) for name in "abc"]
        await wait_until(lambda: decodings.started == ["a"])
        decodings.release()
        await wait_until(lambda: decodings.started == ["a", "b"])
        await asyncio.sleep(0.02)
        assert decodings.started == ["a", "b"]
    await wait_until(lambda: decodings.started == ["a", "b", "c"])
    decodings.release(2)
    assert await gather_results(*futures) == ["a", "b", "c"]


async def test_image_waits_for_memory_without_a_thread_and_is_not_overtaken(
    two_threads: LargeImages, decodings: Decodings
) -> None:
    first = start(two_threads, decodings.work("first"), DecodingCost(1.0, 600))
    await wait_until(lambda: decodings.started)
    big = start(two_threads, decodings.work("big"), DecodingCost(1.0, 5_000), "a")
    small = [
        start(two_threads, decodings.work(f"small {i}"), DecodingCost(1.0, 10), "a")
        for i in range(3)
    ]
    await asyncio.sleep(0.02)
    assert decodings.started == ["first"]
    assert len(decodings.threads) == 1
    decodings.release()
    await wait_until(lambda: len(decodings.started) == 2)
    assert decodings.started[1] == "big"
    decodings.release(4)
    await gather_results(first, big, *small)


async def test_cancelled_image_does_not_wait_for_memory(
    two_threads: LargeImages, decodings: Decodings
) -> None:
    first = start(two_threads, decodings.work("first"), DecodingCost(1.0, MEMORY))
    await wait_until(lambda: decodings.started)
    cancelled = start(two_threads, decodings.work("cancelled"), DecodingCost(1.0, MEMORY))
    other = start(two_threads, decodings.work("other"))
    await asyncio.sleep(0)
    cancelled.cancel()
    decodings.release(2)
    assert await gather_results(first, other) == ["first", "other"]
    assert decodings.started == ["first", "other"]


async def test_image_is_dropped_after_its_deadline(
    large: LargeImages, decodings: Decodings
) -> None:
    first = start(large, decodings.work("first"))
    await wait_until(lambda: decodings.started)
    late = start(large, decodings.work("late"), deadline=time.perf_counter())
    decodings.release()
    assert await gather_results(first) == ["first"]
    assert isinstance((await gather_outcomes(late))[0], DeadlineError)
    assert decodings.started == ["first"]


async def test_underestimated_image_is_decoded_again_with_more_memory(
    large: LargeImages,
) -> None:
    reserved: list[int] = []

    def work(size: int) -> str:
        reserved.append(size)
        if size < 900:
            raise MemoryExceededError(900)
        return "done"

    assert await large.decode(work, SMALL) == "done"
    assert reserved == [10, 900]


async def test_failed_image_frees_its_memory(large: LargeImages) -> None:
    def fail(_: int) -> str:
        raise ValueError

    for _ in range(3):
        with pytest.raises(ValueError):  # noqa: PT011
            await large.decode(fail, DecodingCost(1.0, MEMORY))


async def test_decoding_that_never_returns_frees_its_place_and_memory(
    large: LargeImages, decodings: Decodings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = start(large, decodings.work("stuck"), DecodingCost(1.0, MEMORY))
    await wait_until(lambda: decodings.started)
    monkeypatch.setattr(batcher, "STUCK_SECONDS", -1.0)
    other = start(large, decodings.work("other"), DecodingCost(1.0, MEMORY))
    assert isinstance((await gather_outcomes(stuck))[0], DeadlineError)
    monkeypatch.undo()
    await wait_until(lambda: decodings.started == ["stuck", "other"])
    decodings.release(2)
    assert await gather_results(other) == ["other"]
    last = start(large, decodings.work("last"), DecodingCost(1.0, MEMORY))
    decodings.release()
    assert await gather_results(last) == ["last"]


async def test_clients_take_turns(large: LargeImages, decodings: Decodings) -> None:
    futures = [start(large, decodings.work("a"), client="a") for _ in range(6)]
    await wait_until(lambda: decodings.started)
    futures += [start(large, decodings.work("b"), client="b") for _ in range(2)]
    await wait_until(lambda: large.queued == len(futures) - 1)
    decodings.release(len(futures))
    await gather_results(*futures)
    assert decodings.started[:5].count("b") == 2


async def test_photograph_does_not_wait_for_larger_images_of_the_same_client(
    large: LargeImages, decodings: Decodings
) -> None:
    futures = [start(large, decodings.work("large"), DecodingCost(2.0, 10)) for _ in range(6)]
    await wait_until(lambda: decodings.started)
    futures.append(start(large, decodings.work("photo"), DecodingCost(0.07, 10)))
    await wait_until(lambda: large.queued == len(futures) - 1)
    decodings.release(len(futures))
    await gather_results(*futures)
    assert "photo" in decodings.started[:3]


async def test_client_with_much_work_is_rejected_and_another_is_not(
    large: LargeImages, decodings: Decodings
) -> None:
    cost = DecodingCost(1.0, 10)
    futures = []
    with pytest.raises(WorkRejectedError) as rejected:  # noqa: PT012
        for _ in range(10):
            large.require_capacity(cost, 5.0, "busy")
            futures.append(start(large, decodings.work("busy"), cost, "busy"))
            await asyncio.sleep(0)
    assert len(futures) == 5
    assert rejected.value.retry_after == pytest.approx(5.0)
    large.require_capacity(cost, 5.0, "other")
    decodings.release(5)
    await gather_results(*futures)


async def test_closed_queue_accepts_no_image(large: LargeImages, decodings: Decodings) -> None:
    large.close()
    with pytest.raises(ClosedError):
        await large.decode(decodings.work("late"), SMALL)


async def test_client_is_charged_for_the_time_that_decoding_took(
    large: LargeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[float] = []
    monkeypatch.setattr(large._batcher, "charge", lambda _, cost: charged.append(cost))
    await large.decode(lambda _: "done", DecodingCost(100.0, 10))
    assert charged == [pytest.approx(-100, abs=50)]
