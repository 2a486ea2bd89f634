"""Pictures are read one after the other where there is no memory for all of them."""

import threading

import pytest
from PIL import Image

from backend.inference.errors import ImageTooLargeError
from backend.inference.images import image_reader as module
from backend.inference.images.image_reader import ImageReader
from backend.inference.images.memory_budget import Budget
from tests.images import encoded

WAIT = 10
PAPER = Image.new("RGB", (400, 300), "white")
GLASS = Image.new("RGBA", (400, 300), (0, 0, 0, 90))


class Taken:
    """Stands for the budget and writes down what is taken."""

    def __init__(self) -> None:
        self.units: list[int] = []
        self._budget = Budget(1)

    def take(self, units: int) -> object:
        self.units.append(units)
        return self._budget.take(units)


@pytest.mark.parametrize(
    ("picture", "kind", "options", "side", "taken"),
    [
        (PAPER, "PNG", {}, None, 7 * 400 * 300),
        (PAPER, "JPEG", {}, None, 10 * 400 * 300),
        (PAPER, "JPEG", {}, 100, 10 * 200 * 150),
        (PAPER, "JPEG", {"progressive": True}, 100, 10 * 200 * 150 + 4 * 400 * 300),
        (PAPER, "PNG", {}, 100, 7 * 400 * 300),
        (GLASS, "PNG", {}, None, 14 * 400 * 300),
        (PAPER, "WEBP", {}, None, 16 * 400 * 300),
        (GLASS, "WEBP", {}, None, 22 * 400 * 300),
    ],
)
def test_what_a_picture_takes_depends_on_its_kind(
    picture: Image.Image,
    kind: str,
    options: dict[str, bool],
    side: int | None,
    taken: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = Taken()
    monkeypatch.setattr(module, "Budget", lambda _: budget)
    with ImageReader().read(encoded(picture, kind, **options), side) as image:
        assert image.mode == "RGB"
    assert budget.units == [taken]


def test_a_picture_waits_until_another_one_is_done() -> None:
    reader = ImageReader(memory=1_500_000)
    entered, release = threading.Semaphore(0), threading.Event()

    def work() -> None:
        with reader.read(encoded(PAPER)):
            entered.release()
            assert release.wait(WAIT)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=WAIT)
    assert not entered.acquire(timeout=0.05)
    release.set()
    assert entered.acquire(timeout=WAIT)
    for thread in threads:
        thread.join(WAIT)


def test_a_picture_that_takes_more_than_there_is_is_refused_with_a_way_out() -> None:
    with (
        pytest.raises(ImageTooLargeError, match=r"400 x 300 pixels.* save it as JPEG"),
        ImageReader(memory=800_000).read(encoded(PAPER)),
    ):
        pass


def test_a_jpeg_that_takes_too_much_as_it_is_may_be_read_smaller() -> None:
    with ImageReader(memory=1_000_000).read(encoded(PAPER, "JPEG"), 100) as image:
        assert image.size == (200, 150)
