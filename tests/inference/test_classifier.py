"""From the bytes of a picture to a prediction."""

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

from backend.inference.autotune import Plan
from backend.inference.classifier import Classifier
from backend.inference.errors import (
    ArtifactError,
    ClosedError,
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
from backend.inference.types import Floats, ClassificationResult
from tests.fake_models import GRAY, GrayRuntime, fake_loader, gray, write_model
from tests.inference.helpers import settled, together, until
from tests.images import encoded, seven

pytestmark = pytest.mark.anyio


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    return artifact.read(write_model(tmp_path))


@pytest.fixture
def classifier(model: Artifact) -> Iterator[Classifier]:
    classifier = classify_with(model, FakeRuntime(10, winner=lambda _: 7))
    yield classifier
    classifier.close()


def classify_with(model: Artifact, runtime: Runtime, **options: Any) -> Classifier:
    return Classifier(model, partial(fake_loader(runtime), model), **options)


async def test_the_answer_names_the_most_probable_label_first(classifier: Classifier) -> None:
    prediction = await classifier.classify(encoded(seven()))
    top = prediction.top(3)
    assert [score.label for score in top] == ["7", "0", "1"]
    assert top[0].probability == pytest.approx(np.exp(5) / (np.exp(5) + 9))
    assert prediction.probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("side", [64, 100])
async def test_where_the_time_went_is_told(classifier: Classifier, side: int) -> None:
    timings = (await classifier.classify(encoded(seven(side)))).timings
    assert timings.decode > 0
    assert timings.inference > 0
    assert timings.queue > 0


async def test_a_broken_picture_never_reaches_the_model(model: Artifact) -> None:
    runtime = FakeRuntime(10)
    classifier = classify_with(model, runtime, reader=ImageReader(100))
    warm_up = list(runtime.batches)
    try:
        with pytest.raises(ImageError):
            await classifier.classify(b"no picture")
        with pytest.raises(ImageTooLargeError):
            await classifier.classify(encoded(seven()))
    finally:
        classifier.close()
    assert runtime.batches == warm_up


async def test_many_inputs_go_in_parts_and_come_back_in_order(model: Artifact) -> None:
    runtime = FakeRuntime(10, winner=lambda item: int(item[0, 0, 0]))
    classifier = classify_with(model, runtime, max_batch=4)
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
async def test_one_bad_picture_of_32_leaves_31_right(
    tmp_path: Path, side: int, concurrent: bool
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = classify_with(model, GrayRuntime(concurrent=concurrent, bad=9))
    digits = [i % 9 for i in range(32)]
    files = [gray(digit, side) for digit in digits]
    files[5] = b"no picture"
    try:
        answers = await settled(*(classifier.classify(data) for data in files))
        assert isinstance(answers[5], ImageError)
        files[5], digits[5] = gray(9, side), 9
        again = await settled(*(classifier.classify(data) for data in files))
        assert isinstance(again[5], InferenceError)
    finally:
        classifier.close()
    for found in (answers, again):
        for i, answer in enumerate(found):
            if i != 5:
                assert isinstance(answer, ClassificationResult)
                assert answer.top(1)[0].index == digits[i]


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("side", [8, 80])
async def test_the_event_loop_goes_on_while_the_model_works(
    tmp_path: Path, side: int, concurrent: bool
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    runtime = GrayRuntime(concurrent=concurrent)
    classifier = classify_with(model, runtime)
    try:
        runtime.hold()
        answer = asyncio.ensure_future(classifier.classify(gray(3, side)))
        await until(lambda: runtime.batches == [[3]])  # here the loop runs, and the model is held
        assert not answer.done()
        runtime.release()
        (prediction,) = await together(answer)
        assert prediction.top(1)[0].label == "3"
    finally:
        runtime.release()
        classifier.close()


async def test_only_tiny_pictures_are_decoded_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    load_rgb, where = loading.load_rgb, []

    def load(image: object) -> object:
        where.append(threading.current_thread().name.rstrip("0123456789_-"))
        return load_rgb(image)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "load_rgb", load)
    for concurrent, thread in ((True, "prism-runner"), (False, "prism-decode")):
        where.clear()
        classifier = classify_with(model, GrayRuntime(concurrent=concurrent))
        try:
            for side in (8, 80):
                await classifier.classify(gray(1, side))
        finally:
            classifier.close()
        assert where == [threading.current_thread().name, thread]


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("side", [8, 80])
async def test_after_closing_no_picture_is_taken(
    tmp_path: Path, side: int, concurrent: bool
) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    classifier = classify_with(model, GrayRuntime(concurrent=concurrent))
    classifier.close()
    with pytest.raises(ClosedError):
        await classifier.classify(gray(1, side))


async def test_tuning_measures_once_keeps_it_and_works_as_it_says(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    plans = tmp_path / "plans"
    classifier = classify_with(model, GrayRuntime(), threads=2)
    try:
        await asyncio.to_thread(classifier.spread)
        assert classifier.plan == Plan(threads=1, runners=2, alone_threads=2, max_batch=4)
        assert not plans.exists()
        await asyncio.to_thread(classifier.survey, plans, lambda: classifier.activity)
        assert classifier.plan.measured
        (kept,) = plans.glob("*.json")
        found = Plan(threads=1, runners=2, alone_threads=1, max_batch=2, measured=True)
        kept.write_text(found.model_dump_json())
        await asyncio.to_thread(classifier.survey, plans, lambda: classifier.activity)
        assert classifier.plan == found
        answers = await together(*(classifier.classify(gray(i)) for i in range(10)))
        assert [answer.top(1)[0].index for answer in answers] == list(range(10))
    finally:
        classifier.close()


def test_closing_ends_a_measurement(tmp_path: Path) -> None:
    """A picture is inside all the while, so that no moment is idle."""
    model = artifact.read(write_model(tmp_path, preprocess=GRAY))
    runtime = GrayRuntime()
    classifier = classify_with(model, runtime)

    async def stay() -> None:
        runtime.hold()
        inside = asyncio.ensure_future(classifier.classify(gray(1)))
        await until(lambda: runtime.batches)
        survey = partial(classifier.survey, tmp_path / "plans", lambda: classifier.activity)
        tuning = asyncio.create_task(asyncio.to_thread(survey))
        await until(lambda: list((tmp_path / "plans").glob("*.lock")))
        closing = asyncio.create_task(asyncio.to_thread(classifier.close))
        await together(tuning)  # though the picture still is inside
        assert not inside.done()
        runtime.release()
        await together(inside, closing)

    asyncio.run(stay())
    assert list((tmp_path / "plans").glob("*.json")) == []


def test_a_network_with_another_number_of_outputs_is_refused(model: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"3 outputs.*10 labels"):
        classify_with(model, FakeRuntime(3))


def test_a_network_that_gives_nan_is_refused(model: Artifact) -> None:
    class Broken:
        name = "broken"
        concurrent = True

        def __call__(self, batch: Floats) -> Floats:
            return np.full((len(batch), 10), np.nan, dtype=np.float32)

    with pytest.raises(ArtifactError, match="blank input"):
        classify_with(model, Broken())


def test_the_core_works_without_a_web_framework() -> None:
    code = "import sys, backend.inference.classifier as _; print(*sys.modules)"
    loaded = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"fastapi", "starlette", "pydantic_settings", "torch"} & set(loaded.split())
