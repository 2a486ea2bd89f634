"""Classifier: image files to classifications."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.inference.autotune import Plan
from backend.inference.classifier import Classifier
from backend.inference.errors import (
    ArtifactError,
    ClosedError,
    DeadlineError,
    ImageError,
    ImageTooLargeError,
    InferenceError,
)
from backend.inference.images import loading
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import Runtime
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.inference.types import ClassificationResult, Floats
from tests.fake_models import GRAY, GrayRuntime, fake_loader, gray, write_model
from tests.images import encoded, seven
from tests.inference.helpers import gather_outcomes, gather_results, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    return artifact.read(write_model(tmp_path))


@pytest.fixture
def classifier(model: Artifact) -> Iterator[Classifier]:
    classifier = create_classifier(model, FakeRuntime(10, winner=lambda _: 7))
    yield classifier
    classifier.close()


def create_classifier(model: Artifact, runtime: Runtime, **options: Any) -> Classifier:
    return Classifier(model, partial(fake_loader(runtime), model), **options)


async def test_most_probable_label_comes_first(classifier: Classifier) -> None:
    prediction = await classifier.classify(encoded(seven()))
    top = prediction.top(3)
    assert [score.label for score in top] == ["7", "0", "1"]
    assert top[0].probability == pytest.approx(np.exp(5) / (np.exp(5) + 9))
    assert prediction.probabilities.sum() == pytest.approx(1)


async def test_all_images_of_a_job_are_classified_in_one_thread(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    runtime = GrayRuntime()
    classifier = create_classifier(model, runtime, max_batch=4)
    warm_up = len(runtime.batches)
    images = [gray(value) for value in (3, 1, 4, 1, 5)]
    results = classifier.classify_all([*images[:2], b"broken", *images[2:]])
    classifier.close()
    assert runtime.batches[warm_up:] == [[3, 1, 4, 1], [5]]
    assert isinstance(results.pop(2), ImageError)
    predictions = [each.top(1)[0].label for each in results if not isinstance(each, Exception)]
    assert predictions == ["3", "1", "4", "1", "5"]


async def test_image_of_a_job_that_needs_more_memory_waits_for_it(model: Artifact) -> None:
    reader = ImageReader()
    classifier = create_classifier(model, FakeRuntime(10, winner=lambda _: 7), reader=reader)
    reserved: list[int] = []
    reader.budget.on_release(lambda: reserved.append(1))
    results = classifier.classify_all([encoded(seven(64)), encoded(seven(5_000))])
    classifier.close()
    assert not any(isinstance(each, Exception) for each in results)
    assert len(reserved) == 1


@pytest.mark.parametrize("side", [64, 100])
async def test_result_has_timings(classifier: Classifier, side: int) -> None:
    timings = (await classifier.classify(encoded(seven(side)))).timings
    assert timings.decode > 0
    assert timings.inference > 0
    assert timings.queue > 0


async def test_broken_image_does_not_reach_the_model(model: Artifact) -> None:
    runtime = FakeRuntime(10)
    classifier = create_classifier(model, runtime, reader=ImageReader(100))
    warm_up = list(runtime.batches)
    try:
        with pytest.raises(ImageError):
            await classifier.classify(b"not an image")
        with pytest.raises(ImageTooLargeError):
            await classifier.classify(encoded(seven()))
    finally:
        classifier.close()
    assert runtime.batches == warm_up


async def test_many_inputs_run_in_batches_and_return_in_order(model: Artifact) -> None:
    runtime = FakeRuntime(10, winner=lambda item: int(item[0, 0, 0]))
    classifier = create_classifier(model, runtime, max_batch=4)
    rows = np.zeros((10, 1, 28, 28), dtype=np.float32)
    rows[:, 0, 0, 0] = range(10)
    try:
        predictions = await classifier.classify_inputs(rows)
    finally:
        classifier.close()
    assert [prediction.top(1)[0].label for prediction in predictions] == list("0123456789")
    assert max(runtime.batches) == 4


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("side", [8, 80])
async def test_bad_image_does_not_affect_31_others(
    tmp_path: Path, side: int, concurrent: bool
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = create_classifier(model, GrayRuntime(concurrent=concurrent, bad=9))
    digits = [i % 9 for i in range(32)]
    files = [gray(digit, side) for digit in digits]
    files[5] = b"not an image"
    try:
        results = await gather_outcomes(*(classifier.classify(data) for data in files))
        assert isinstance(results[5], ImageError)
        files[5], digits[5] = gray(9, side), 9
        retried = await gather_outcomes(*(classifier.classify(data) for data in files))
        assert isinstance(retried[5], InferenceError)
    finally:
        classifier.close()
    for outcomes in (results, retried):
        for i, result in enumerate(outcomes):
            if i != 5:
                assert isinstance(result, ClassificationResult)
                assert result.top(1)[0].index == digits[i]


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("side", [8, 80])
async def test_event_loop_is_not_blocked_by_the_model(
    tmp_path: Path, side: int, concurrent: bool
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    runtime = GrayRuntime(concurrent=concurrent)
    classifier = create_classifier(model, runtime)
    try:
        runtime.hold()
        result = asyncio.ensure_future(classifier.classify(gray(3, side)))
        await wait_until(
            lambda: runtime.batches == [[3]]
        )  # the loop runs while the model is blocked
        assert not result.done()
        runtime.release()
        (prediction,) = await gather_results(result)
        assert prediction.top(1)[0].label == "3"
    finally:
        runtime.release()
        classifier.close()


async def test_only_tiny_images_are_decoded_on_the_event_loop(
    tmp_path: Path, decoding_threads: list[str]
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    for concurrent, thread in ((True, "prism-runner"), (False, "prism-decode")):
        decoding_threads.clear()
        classifier = create_classifier(model, GrayRuntime(concurrent=concurrent))
        try:
            for side in (8, 80):
                await classifier.classify(gray(1, side))
        finally:
            classifier.close()
        assert decoding_threads == [threading.current_thread().name, thread]


@pytest.fixture
def decoding_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of the threads that decode images, in order."""
    load_rgb, threads = loading.load_rgb, []

    def load(image: Image.Image, **options: Any) -> Image.Image:
        threads.append(threading.current_thread().name.rstrip("0123456789_-"))
        return load_rgb(image, **options)

    monkeypatch.setattr(loading, "load_rgb", load)
    return threads


@pytest.mark.parametrize("concurrent", [True, False])
async def test_no_runner_decodes_a_large_image(
    tmp_path: Path, decoding_threads: list[str], *, concurrent: bool
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = create_classifier(model, GrayRuntime(concurrent=concurrent))
    try:
        result = await classifier.classify(gray(3, 2000))
        await classifier.explain(gray(3, 2000), result)
        await classifier.model_input_png(gray(3, 2000))
    finally:
        classifier.close()
    assert result.top(1)[0].label == "3"
    assert decoding_threads == ["prism-large"] * 3


async def test_image_of_uncertain_size_is_not_opened_on_the_event_loop(
    tmp_path: Path, decoding_threads: list[str]
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = create_classifier(model, GrayRuntime())
    try:
        await classifier.classify(encoded(Image.new("L", (8, 8), 60), "TIFF"))
    finally:
        classifier.close()
    assert decoding_threads == ["prism-large"]


@pytest.mark.parametrize("concurrent", [True, False])
async def test_image_that_needs_more_memory_than_its_header_says_leaves_the_runner(
    tmp_path: Path, decoding_threads: list[str], *, concurrent: bool
) -> None:
    """A PNG with a transparent gray level needs 14 bytes per pixel, and the estimate is 9."""
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    reader = ImageReader(memory=32 * 12 * 80 * 80)
    classifier = create_classifier(
        model, GrayRuntime(concurrent=concurrent), reader=reader, threads=1
    )
    try:
        data = encoded(Image.new("L", (80, 80), 60), transparency=1)
        result = await classifier.classify(data)
        await classifier.model_input_png(data)
    finally:
        classifier.close()
    assert result.top(1)[0].label == "3"
    assert decoding_threads == ["prism-large"] * 2


async def test_model_input_png_raises_deadline_error(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = create_classifier(model, GrayRuntime())
    try:
        with pytest.raises(DeadlineError):
            await classifier.model_input_png(gray(3, 80), 1e-9)
    finally:
        classifier.close()


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("side", [8, 80])
async def test_closed_classifier_raises_closed_error(
    tmp_path: Path, side: int, concurrent: bool
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = create_classifier(model, GrayRuntime(concurrent=concurrent))
    classifier.close()
    with pytest.raises(ClosedError):
        await classifier.classify(gray(1, side))


async def test_autotune_caches_and_applies_the_plan(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    plans = tmp_path / "plans"
    classifier = create_classifier(model, GrayRuntime(), threads=2)
    try:
        await asyncio.to_thread(classifier.use_default_plan)
        assert classifier.plan == Plan(threads=1, runners=2, alone_threads=2, max_batch=4)
        assert not plans.exists()
        await asyncio.to_thread(classifier.autotune, plans, lambda: classifier.activity)
        assert classifier.plan.measured
        (path,) = plans.glob("*.json")
        plan = Plan(threads=1, runners=2, alone_threads=1, max_batch=2, measured=True)
        path.write_text(plan.model_dump_json())
        await asyncio.to_thread(classifier.autotune, plans, lambda: classifier.activity)
        assert classifier.plan == plan
        results = await gather_results(*(classifier.classify(gray(i)) for i in range(10)))
        assert [result.top(1)[0].index for result in results] == list(range(10))
    finally:
        classifier.close()


def test_close_ends_autotuning(tmp_path: Path) -> None:
    """An image is in flight all the time, so the service is never idle."""
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    runtime = GrayRuntime()
    classifier = create_classifier(model, runtime)

    async def close_while_busy() -> None:
        runtime.hold()
        pending = asyncio.ensure_future(classifier.classify(gray(1)))
        await wait_until(lambda: runtime.batches)
        autotune = partial(classifier.autotune, tmp_path / "plans", lambda: classifier.activity)
        tuning = asyncio.create_task(asyncio.to_thread(autotune))
        await wait_until(lambda: list((tmp_path / "plans").glob("*.lock")))
        closing = asyncio.create_task(asyncio.to_thread(classifier.close))
        await gather_results(tuning)  # although the image is still in flight
        assert not pending.done()
        runtime.release()
        await gather_results(pending, closing)

    asyncio.run(close_while_busy())
    assert list((tmp_path / "plans").glob("*.json")) == []


def test_network_with_wrong_number_of_outputs_raises_artifact_error(model: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"3 outputs.*10 labels"):
        create_classifier(model, FakeRuntime(3))


def test_network_that_returns_nan_raises_artifact_error(model: Artifact) -> None:
    class Broken:
        name = "broken"
        concurrent = True

        def __call__(self, batch: Floats) -> Floats:
            return np.full((len(batch), 10), np.nan, dtype=np.float32)

    with pytest.raises(ArtifactError, match="blank input"):
        create_classifier(model, Broken())


def test_core_imports_no_web_framework() -> None:
    code = "import sys, backend.inference.classifier as _; print(*sys.modules)"
    loaded = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"fastapi", "starlette", "pydantic_settings", "torch"} & set(loaded.split())
