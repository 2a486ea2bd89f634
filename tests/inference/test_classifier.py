"""From the bytes of a picture to a prediction."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import run

import numpy as np
import pytest

from backend.inference import artifact
from backend.inference.artifact import Artifact
from backend.inference.classifier import Classifier
from backend.inference.errors import (
    ArtifactError,
    ImageError,
    ImageTooLargeError,
    QueueFullError,
)
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.inference.types import Floats, Prediction
from tests.fake_models import write_model
from tests.pictures import encoded, seven


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    return artifact.read(write_model(tmp_path))


@pytest.fixture
def classifier(model: Artifact) -> Iterator[Classifier]:
    classifier = Classifier(model, FakeRuntime(10, winner=lambda _: 7))
    yield classifier
    classifier.close()


def test_the_answer_names_the_most_probable_label_first(classifier: Classifier) -> None:
    prediction = asyncio.run(classifier.classify(encoded(seven())))
    top = prediction.top(3)
    assert [score.label for score in top] == ["7", "0", "1"]
    assert top[0].probability == pytest.approx(np.exp(5) / (np.exp(5) + 9))
    assert prediction.probabilities.sum() == pytest.approx(1)
    assert prediction.timings.decode > 0


def test_a_broken_picture_never_reaches_the_model(model: Artifact) -> None:
    runtime = FakeRuntime(10)
    classifier = Classifier(model, runtime, max_pixels=100)
    warm_up = list(runtime.batches)
    try:
        with pytest.raises(ImageError):
            asyncio.run(classifier.classify(b"no picture"))
        with pytest.raises(ImageTooLargeError):
            asyncio.run(classifier.classify(encoded(seven())))
    finally:
        classifier.close()
    assert runtime.batches == warm_up


def test_many_inputs_go_in_parts_and_come_back_in_order(model: Artifact) -> None:
    runtime = FakeRuntime(10, winner=lambda item: int(item[0, 0, 0]))
    classifier = Classifier(model, runtime, max_batch=4)
    rows = np.zeros((10, 1, 28, 28), dtype=np.float32)
    rows[:, 0, 0, 0] = range(10)
    try:
        predictions = asyncio.run(classifier.classify_inputs(rows))
    finally:
        classifier.close()
    assert [prediction.top(1)[0].label for prediction in predictions] == list("0123456789")
    assert max(runtime.batches) == 4


def test_large_pictures_take_from_one_budget_of_pixels(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    take = classifier._pixels.take

    def counted(units: int) -> AbstractContextManager[None]:
        taken.append(units)
        return take(units)

    monkeypatch.setattr(classifier._pixels, "take", counted)
    asyncio.run(classifier.classify(encoded(seven(64))))
    assert taken == [64 * 64]


def test_pictures_that_still_are_decoded_count_as_waiting(model: Artifact) -> None:
    classifier = Classifier(model, FakeRuntime(10), queue_size=2)

    async def three() -> list[object]:
        sent = (classifier.classify(encoded(seven())) for _ in range(3))
        return list(await asyncio.gather(*sent, return_exceptions=True))

    try:
        answers = asyncio.run(three())
    finally:
        classifier.close()
    assert [type(answer) for answer in answers] == [Prediction, Prediction, QueueFullError]


def test_the_event_loop_goes_on_while_the_model_works(model: Artifact) -> None:
    gate = threading.Event()
    gate.set()
    classifier = Classifier(model, FakeRuntime(10, gate=gate))
    gate.clear()

    async def both() -> bool:
        answer = asyncio.ensure_future(classifier.classify(encoded(seven())))
        await asyncio.sleep(0.05)  # the loop is free although the model is held
        waiting = not answer.done()
        gate.set()
        await answer
        return waiting

    try:
        assert asyncio.run(both())
    finally:
        gate.set()
        classifier.close()


def test_a_network_with_another_number_of_outputs_is_refused(model: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"3 outputs.*10 labels"):
        Classifier(model, FakeRuntime(3))


def test_a_network_that_gives_nan_is_refused(model: Artifact) -> None:
    class Broken:
        name = "broken"

        def __call__(self, batch: Floats) -> Floats:
            return np.full((len(batch), 10), np.nan, dtype=np.float32)

    with pytest.raises(ArtifactError, match="blank input"):
        Classifier(model, Broken())


def test_the_core_works_without_a_web_framework() -> None:
    code = "import sys, backend.inference.classifier as _; print(*sys.modules)"
    loaded = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"fastapi", "starlette", "pydantic_settings", "torch"} & set(loaded.split())
