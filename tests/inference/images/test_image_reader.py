"""ImageReader and MemoryBudget: limits on the memory of concurrent decoding."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.inference.errors import DeadlineError, ImageTooLargeError, StuckError
from backend.inference.images import image_reader
from backend.inference.images.image_reader import (
    ImageReader,
    MemoryBudget,
    MemoryExceededError,
)
from backend.inference.images.isolation import PROCESS_BYTES
from backend.resources.memory import MemoryShares
from tests.images import encoded, noise

TIMEOUT = 10  # seconds
OPAQUE = Image.new("RGB", (400, 300), "white")
TRANSPARENT = Image.new("RGBA", (400, 300), (0, 0, 0, 90))


class RecordingBudget:
    """A budget that records the reserved sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._budget = MemoryBudget(1)

    def reserve(self, size: int, _: float | None) -> object:
        self.sizes.append(size)
        return self._budget.reserve(size)


@pytest.mark.parametrize(
    ("image", "form", "options", "min_side", "expected"),
    [
        (OPAQUE, "PNG", {}, None, 7 * 400 * 300),
        (OPAQUE, "JPEG", {}, None, 7 * 400 * 300),
        (OPAQUE, "JPEG", {}, 100, 7 * 200 * 150),
        (OPAQUE, "JPEG", {"progressive": True}, 100, 7 * 200 * 150 + 3 * 400 * 300),
        (OPAQUE, "JPEG", {"exif": b"Exif\0\0"}, None, 9 * 400 * 300),
        (OPAQUE, "PNG", {}, 100, 7 * 400 * 300),
        (TRANSPARENT, "PNG", {}, None, 14 * 400 * 300),
        (OPAQUE.convert("I;16"), "PNG", {}, None, 18 * 400 * 300),
        (OPAQUE.convert("CMYK"), "JPEG", {}, None, 13 * 400 * 300),
        (OPAQUE, "AVIF", {}, None, 11 * 400 * 300 + PROCESS_BYTES),
        (OPAQUE, "JPEG2000", {}, None, 20 * 400 * 300 + PROCESS_BYTES),
        (OPAQUE, "WEBP", {}, None, 17 * 400 * 300),
        (TRANSPARENT, "WEBP", {}, None, 22 * 400 * 300),
    ],
)
def test_reserved_memory_depends_on_the_format(
    image: Image.Image,
    form: str,
    options: dict[str, Any],
    min_side: int | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = RecordingBudget()
    monkeypatch.setattr(image_reader, "MemoryBudget", lambda _: budget)
    with ImageReader().read(encoded(image, form, **options), min_side) as decoded:
        assert decoded.mode == "RGB"
    assert budget.sizes == [expected]


def test_image_waits_for_memory_of_another_image() -> None:
    reader = ImageReader(memory=1_500_000)
    entered, release = threading.Semaphore(0), threading.Event()

    def work() -> None:
        with reader.read(encoded(OPAQUE)):
            entered.release()
            assert release.wait(TIMEOUT)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=TIMEOUT)
    assert not entered.acquire(timeout=0.05)
    release.set()
    assert entered.acquire(timeout=TIMEOUT)
    for thread in threads:
        thread.join(TIMEOUT)


def test_image_that_exceeds_the_memory_raises_image_too_large() -> None:
    with (
        pytest.raises(ImageTooLargeError, match=r"400 x 300 pixels.* save it as JPEG"),
        ImageReader(memory=800_000).read(encoded(OPAQUE)),
    ):
        pass


def test_large_jpeg_is_decoded_at_a_smaller_scale() -> None:
    with ImageReader(memory=1_000_000).read(encoded(OPAQUE, "JPEG"), 100) as image:
        assert image.size == (200, 150)


def test_large_jpeg_2000_is_decoded_at_a_smaller_scale() -> None:
    data = encoded(noise(400, 300), "JPEG2000")
    with ImageReader().read(data, 60) as image:
        assert image.size == (100, 75)
        assert image.reduce(2).size == (50, 38)
        small = noise(400, 300).reduce(4)
        assert np.abs(np.asarray(image, int) - np.asarray(small, int)).mean() < 3
    single = encoded(noise(400, 300), "JPEG2000", num_resolutions=1)
    with ImageReader().read(single, 60) as image:
        assert image.size == (400, 300)


def test_jpeg_2000_that_would_block_other_threads_is_rejected() -> None:
    data = encoded(Image.new("L", (2100, 2000)), "JPEG2000")
    with pytest.raises(ImageTooLargeError, match="2100 x 2000"), ImageReader().read(data):
        pass
    with ImageReader().read(data, 256) as image:
        assert image.size == (525, 500)


def test_jpeg_beyond_the_pixel_limit_is_decoded_at_a_smaller_scale() -> None:
    data = encoded(OPAQUE, "JPEG")
    reader = ImageReader(max_pixels=400 * 300 // 4)
    with reader.read(data, 100) as image:
        assert image.size == (200, 150)
    with pytest.raises(ImageTooLargeError, match="400 x 300"), reader.read(data):
        pass
    too_large = ImageReader(max_pixels=400 * 300 // 4 - 1)
    with pytest.raises(ImageTooLargeError), too_large.read(data, 10):
        pass


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (encoded(Image.new("L", (12_000, 9000)), "JPEG"), (1500, 1125)),
        (encoded(Image.new("L", (4000, 3200))), (4000, 3200)),
    ],
    ids=["JPEG of 108 megapixels", "PNG of 12.8 megapixels"],
)
def test_large_images_are_decoded_with_512_mb(data: bytes, size: tuple[int, int]) -> None:
    shares = MemoryShares.from_limit(512 * 2**20)
    with ImageReader(memory=shares.decoding).read(data, 256) as image:
        assert image.size == size


def test_budget_admits_what_fits_and_blocks_the_rest() -> None:
    budget = MemoryBudget(10)
    entered, release = threading.Semaphore(0), threading.Event()

    def work(size: int) -> None:
        with budget.reserve(size):
            entered.release()
            assert release.wait(TIMEOUT)

    fitting = [threading.Thread(target=work, args=(5,)) for _ in range(2)]
    for thread in fitting:
        thread.start()
    assert entered.acquire(timeout=TIMEOUT)
    assert entered.acquire(timeout=TIMEOUT)
    blocked = threading.Thread(target=work, args=(1,))
    blocked.start()
    assert not entered.acquire(timeout=0.05)
    release.set()
    assert entered.acquire(timeout=TIMEOUT)
    for thread in (*fitting, blocked):
        thread.join(TIMEOUT)


def test_request_for_more_than_the_budget_takes_all_of_it() -> None:
    budget = MemoryBudget(10)
    with budget.reserve(1000):
        pass
    with budget.reserve(10):
        pass


def test_exception_releases_the_memory() -> None:
    budget = MemoryBudget(1)
    for _ in range(2):
        try:
            with budget.reserve(1):
                raise ValueError
        except ValueError:
            pass


def test_reader_whose_decoders_do_not_return_is_not_responsive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, data = ImageReader(), encoded(noise())
    with reader.read(data), reader.read(data):
        reader.require_responsive()
        monkeypatch.setattr(image_reader, "STUCK_SECONDS", -1.0)
        with pytest.raises(StuckError):
            reader.require_responsive()
    with reader.read(data):  # a single one does not count
        reader.require_responsive()


def test_memory_is_reserved_in_order_of_arrival() -> None:
    """Small requests do not overtake a large one."""
    budget = MemoryBudget(10)
    order: list[int] = []
    threads = []

    def work(size: int) -> None:
        with budget.reserve(size, TIMEOUT):
            order.append(size)

    with budget.reserve(5):
        for waiting, size in enumerate((10, 1, 2), 1):
            threads.append(threading.Thread(target=work, args=(size,)))
            threads[-1].start()
            wait_until_blocked(budget, waiting)
        assert not budget.try_reserve(1)
    for thread in threads:
        thread.join(TIMEOUT)
    assert order[0] == 10
    assert sorted(order) == [1, 2, 10]
    assert budget.try_reserve(10)


def test_request_for_memory_ends_at_its_time_limit_and_frees_its_place() -> None:
    budget = MemoryBudget(10)
    with budget.reserve(5):
        with pytest.raises(DeadlineError), budget.reserve(10, 0.01):
            pass
        with budget.reserve(5, 0.01):
            pass


def test_release_of_memory_is_announced() -> None:
    budget, released = MemoryBudget(10), []
    budget.on_release(lambda: released.append(budget.try_reserve(10)))
    with budget.reserve(10):
        assert not released
    assert released == [True]


def test_image_needs_no_more_than_the_caller_has_reserved() -> None:
    reader = ImageReader(memory=1_500_000)
    with reader.budget.reserve(1_500_000):  # the caller's
        with reader.read(encoded(OPAQUE), reserved=7 * 400 * 300) as image:
            assert image.size == (400, 300)
        with (
            pytest.raises(MemoryExceededError) as error,
            reader.read(encoded(OPAQUE), reserved=7 * 400 * 300 - 1),
        ):
            pass
    assert error.value.needed == 7 * 400 * 300


def wait_until_blocked(budget: MemoryBudget, count: int) -> None:
    end = time.monotonic() + TIMEOUT
    while len(budget._waiting) < count:
        assert time.monotonic() < end
        time.sleep(0.001)
