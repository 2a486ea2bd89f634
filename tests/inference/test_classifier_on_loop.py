"""Classifier: small networks run on the event loop, all others in threads."""

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.inference import engine
from backend.inference.classifier import Classifier
from backend.inference.errors import DeadlineError, ImageError, InferenceError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from tests.fake_models import GRAY, GrayRuntime, fake_loader, gray, write_model
from tests.images import encoded
from tests.inference.helpers import gather_outcomes, gather_results
from tests.inference.test_classifier_admission import RecordingObserver

pytestmark = pytest.mark.anyio

BAD_DIGIT = 9


class OnnxGrayRuntime(GrayRuntime):
    """Records in which thread each forward pass runs."""

    name = "onnx"

    def __init__(self) -> None:
        super().__init__(bad=BAD_DIGIT)
        self.threads: list[str] = []  # type: ignore[assignment]

    def __call__(self, batch: Floats) -> Floats:
        self.threads.append(threading.current_thread().name.rstrip("0123456789_-"))
        return super().__call__(batch)


class Service:
    """A classifier of gray images, whose forward pass costs less than a hand-over."""

    def __init__(
        self, folder: Path, spec: PhotoPreprocess = GRAY, reader: ImageReader | None = None
    ) -> None:
        self.runtime = OnnxGrayRuntime()
        self.observer = RecordingObserver()
        model = artifact.read(write_model(folder, preprocess=spec))
        load = partial(fake_loader(self.runtime), model)
        self.classifier = Classifier(model, load, threads=1, observer=self.observer, reader=reader)
        self.runtime.threads.clear()
        self.runtime.batches.clear()

    async def classify(self, data: bytes, time_limit: float | None = None) -> int:
        result = await self.classifier.classify(data, time_limit)
        return result.top(1)[0].index


@pytest.fixture
def quick_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network counts as quick, however busy the machine is."""
    monkeypatch.setattr(engine, "_QUICK_SECONDS", 60.0)
    monkeypatch.setattr("backend.inference.loop_batcher.MAX_SECONDS", 600.0)


@pytest.fixture
def service(tmp_path: Path, quick_networks: None) -> Iterator[Service]:
    yield (service := Service(tmp_path))
    service.classifier.close()


LOOP, RUNNER = threading.current_thread().name, "prism-runner"


@pytest.mark.parametrize("side", [8, 80])
async def test_images_of_one_turn_are_one_batch_on_the_event_loop(
    service: Service, side: int
) -> None:
    digits = [3, 1, 4, 1, 5]
    found = await gather_results(*(service.classify(gray(digit, side)) for digit in digits))
    assert found == digits
    assert service.runtime.batches == [digits]
    assert service.runtime.threads == [LOOP]


async def test_network_slower_than_a_hand_over_runs_in_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_QUICK_SECONDS", 0.0)
    service = Service(tmp_path)
    try:
        assert await service.classify(gray(3)) == 3
    finally:
        service.classifier.close()
    assert service.runtime.threads == [RUNNER]


@pytest.mark.usefixtures("quick_networks")
async def test_torch_runs_in_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxGrayRuntime, "name", "torch")
    service = Service(tmp_path)
    try:
        assert await service.classify(gray(3)) == 3
    finally:
        service.classifier.close()
    assert service.runtime.threads == [RUNNER]


@pytest.mark.usefixtures("quick_networks")
async def test_network_with_large_inputs_runs_in_threads(tmp_path: Path) -> None:
    service = Service(tmp_path, GRAY.model_copy(update={"crop": (65, 65)}))
    try:
        assert await service.classify(gray(3, 65)) == 3
    finally:
        service.classifier.close()
    assert service.runtime.threads == [RUNNER]


def with_texts(count: int, *, compressed: bool) -> bytes:
    texts = PngInfo()
    for number in range(count):
        texts.add_text(f"key {number}", "text", zip=compressed)
    return encoded(Image.new("L", (8, 8), 60), pnginfo=texts)


async def test_image_with_some_text_is_decoded_on_the_event_loop(service: Service) -> None:
    assert await service.classify(with_texts(3, compressed=False)) == 3
    assert service.runtime.threads == [LOOP]


@pytest.mark.parametrize(
    "data",
    [
        gray(3, 300),
        with_texts(1, compressed=True),
        with_texts(40, compressed=False),
        encoded(Image.new("L", (240, 240), 60), "JPEG"),
        encoded(Image.new("L", (80, 80), 60), icc_profile=bytes(200)),
        encoded(Image.new("L", (8, 8), 60), "TIFF"),
    ],
    ids=["large", "compressed text", "many chunks", "no PNG", "profile", "uncertain size"],
)
async def test_image_whose_decoding_may_take_long_is_not_decoded_on_the_event_loop(
    service: Service, data: bytes
) -> None:
    assert await service.classify(data) == 3
    assert service.runtime.threads == [RUNNER]


@pytest.mark.usefixtures("quick_networks")
async def test_image_that_needs_more_memory_than_its_header_says_leaves_the_event_loop(
    tmp_path: Path,
) -> None:
    """A PNG with a transparent gray level needs 14 bytes per pixel, and the estimate is 9."""
    service = Service(tmp_path, reader=ImageReader(memory=32 * 12 * 80 * 80))
    try:
        data = encoded(Image.new("L", (80, 80), 60), transparency=1)
        assert await service.classify(data) == 3
    finally:
        service.classifier.close()
    assert service.runtime.threads == [RUNNER]
    assert service.observer.endings() == ["answered"]


async def test_each_image_on_the_event_loop_ends_in_one_event(service: Service) -> None:
    calls = (
        service.classify(gray(3), 1e-9),
        service.classify(gray(2)),
        service.classify(gray(1)),
        service.classify(gray(BAD_DIGIT)),
        service.classify(b"not an image"),
    )
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)  # all are queued, and none has been decoded
    tasks[1].cancel()
    expired, cancelled, good, bad, broken = await gather_outcomes(*tasks)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert good == 1
    assert isinstance(bad, InferenceError)
    assert isinstance(broken, ImageError)
    assert isinstance(expired, DeadlineError)
    assert service.runtime.batches == [[1, BAD_DIGIT], [1], [BAD_DIGIT]]
    assert service.observer.events.count("admitted") == 5
    assert service.observer.endings() == [
        "abandoned",
        "answered",
        "expired",
        "failed: InferenceError",
        "failed: UnsupportedImageError",
    ]
    assert service.classifier.activity == 5


async def test_plan_keeps_one_thread_for_the_network_on_the_event_loop(
    tmp_path: Path, quick_networks: None
) -> None:
    loaded: list[int] = []

    def load(*, threads: int) -> OnnxGrayRuntime:
        loaded.append(threads)
        runtime = OnnxGrayRuntime()
        runtimes[threads] = runtime
        return runtime

    runtimes: dict[int, OnnxGrayRuntime] = {}
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = Classifier(model, load, threads=4)
    try:
        classifier.use_default_plan()
        for runtime in runtimes.values():
            runtime.threads.clear()
        await classifier.classify(gray(3))
    finally:
        classifier.close()
    assert loaded == [4, 1]
    assert (runtimes[4].threads, runtimes[1].threads) == ([], [LOOP])
