"""Automatic choice of the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from backend.inference import auto, decoder
from backend.inference.classifier import Classifier
from backend.inference.decoder import Decoder, SharedImage
from backend.inference.errors import DeadlineError, ImageError
from backend.inference.images import loading
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.photos import PhotoPreprocess, crop_photo
from backend.inference.runtimes import Runtime
from backend.inference.types import ClassificationResult, Floats, Timings
from tests.fake_models import CALIBRATION, GRAY, digit_in, fake_loader, gray, write_model
from tests.images import encoded

pytestmark = pytest.mark.anyio


class KnownDigits:
    """Classifies `gray` images of the digits in `known`; others get the same logit everywhere."""

    name = "known"
    concurrent = False

    def __init__(self, known: range) -> None:
        self._known = known

    def __call__(self, batch: Floats) -> Floats:
        """Return logits (N, 10) for inputs (N, 1, 8, 8)."""
        logits = np.zeros((len(batch), 10), dtype=np.float32)
        for row, item in zip(logits, batch, strict=True):
            if (digit := digit_in(item)) in self._known:
                row[digit] = 9
        return logits


def create_classifier(folder: Path, name: str, runtime: Runtime, **fields: object) -> Classifier:
    model = artifact.read(write_model(folder, name, preprocess=GRAY, **fields))
    return Classifier(model, partial(fake_loader(runtime), model))


@pytest.fixture
def classifiers(tmp_path: Path) -> Iterator[list[Classifier]]:
    """`low` knows 0 to 4, `high` 5 to 7."""
    low = create_classifier(tmp_path, "low", KnownDigits(range(5)), calibration=CALIBRATION)
    high = create_classifier(tmp_path, "high", KnownDigits(range(5, 8)), calibration=CALIBRATION)
    yield [low, high]
    low.close()
    high.close()


@dataclass
class LazyModel:
    """A model whose classifier is loaded when it is asked."""

    loadable: Classifier
    classifier: Classifier | None = None

    async def load(self, max_wait: float | None = None) -> Classifier:
        """Return the classifier."""
        self.classifier = self.loadable
        return self.classifier


def loaded(classifiers: list[Classifier]) -> list[LazyModel]:
    return [LazyModel(each, each) for each in classifiers]


async def answer(classifiers: list[Classifier], digit: int) -> tuple[str, str, bool | None]:
    """Return the name of the model that answers, its prediction, and whether it is certain."""
    classifier, result = await auto.classify(loaded(classifiers), gray(digit))
    return classifier.manifest.name, result.top(1)[0].label, result.in_distribution


async def test_first_model_in_distribution_answers(classifiers: list[Classifier]) -> None:
    assert await answer(classifiers, 3) == ("low", "3", True)
    assert await answer(classifiers, 6) == ("high", "6", True)
    assert await answer([*classifiers[::-1]], 3) == ("low", "3", True)


async def test_model_is_loaded_when_it_is_asked(classifiers: list[Classifier]) -> None:
    models = [LazyModel(each) for each in classifiers]
    for digit, are_loaded in ((3, [True, False]), (6, [True, True])):
        classifier, result = await auto.classify(models, gray(digit, 400))
        assert result.top(1)[0].label == str(digit)
        assert [model.classifier is not None for model in models] == are_loaded
        assert classifier is classifiers[digit > 4]


async def test_last_model_answers_if_none_knows_the_image(classifiers: list[Classifier]) -> None:
    assert await answer(classifiers, 9) == ("high", "0", False)
    assert await answer(classifiers[:1], 9) == ("low", "0", False)


async def test_uncalibrated_model_answers_only_as_the_last(
    classifiers: list[Classifier], tmp_path: Path
) -> None:
    plain = create_classifier(tmp_path, "plain", KnownDigits(range(10)))
    try:
        assert await answer([plain, *classifiers], 3) == ("low", "3", True)
        assert await answer([*classifiers, plain], 9) == ("plain", "9", None)
    finally:
        plain.close()


async def test_timings_include_every_model_asked(classifiers: list[Classifier]) -> None:
    asked: list[Timings] = []

    class Recording:
        """Records the timings of a classifier."""

        def __init__(self, classifier: Classifier) -> None:
            self._classifier = classifier
            self.decoder = classifier.decoder

        async def classify(
            self, data: SharedImage, limit: float | None, client: str
        ) -> ClassificationResult:
            result = await self._classifier.classify(data, limit, client)
            asked.append(result.timings)
            return result

    recorded = cast(list[Classifier], [Recording(each) for each in classifiers])
    _, result = await auto.classify(loaded(recorded), gray(6))
    assert result.timings.inference == sum(each.inference for each in asked)
    assert result.timings.decode == sum(each.decode for each in asked)
    assert len(asked) == 2


async def test_time_limit_covers_all_models(classifiers: list[Classifier]) -> None:
    with pytest.raises(DeadlineError):
        await auto.classify(loaded(classifiers), gray(6), 1e-9)


async def test_unreadable_image_raises(classifiers: list[Classifier]) -> None:
    with pytest.raises(ImageError):
        await auto.classify(loaded(classifiers), b"not an image")


@pytest.mark.parametrize(("side", "readings"), [(300, 2), (400, 1)])
async def test_large_image_is_decoded_once(
    classifiers: list[Classifier], monkeypatch: pytest.MonkeyPatch, side: int, readings: int
) -> None:
    count = 0
    load_rgb = loading.load_rgb

    def counting_load_rgb(*args: Any, **options: Any) -> Image.Image:
        nonlocal count
        count += 1
        return load_rgb(*args, **options)

    monkeypatch.setattr(loading, "load_rgb", counting_load_rgb)
    _, result = await auto.classify(loaded(classifiers), gray(6, side))
    assert (result.top(1)[0].label, count) == ("6", readings)


async def test_digit_is_not_cropped_for_the_photo_model(
    classifiers: list[Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    cropped: list[int] = []

    def recording_crop_photo(image: Image.Image, spec: PhotoPreprocess) -> Image.Image:
        cropped.append(image.width)
        return crop_photo(image, spec)

    monkeypatch.setattr(decoder, "crop_photo", recording_crop_photo)
    await auto.classify(loaded(classifiers), gray(2, 400))
    assert not cropped
    await auto.classify(loaded(classifiers), gray(6, 400))
    assert cropped == [400]


async def test_images_are_kept_within_the_budget() -> None:
    size = 3 * 400 * 400
    reader = ImageReader(memory=16 * size)
    photos, digits = Decoder(PhotoPreprocess(), reader), Decoder(DigitPreprocess(), reader)
    data = gray(6, 400)
    kept, cropped, cancelled = (SharedImage(data, [digits, photos]) for _ in range(3))
    for image in (kept, cropped):
        image.decode(digits)
    assert not reader.kept_images.try_reserve(1)
    assert np.array_equal(kept.decode(photos).rows, cropped.decode(photos).rows)
    for image in (kept, cropped, cancelled):
        image.close()
    cancelled.decode(digits)
    assert reader.kept_images.try_reserve(size)


@pytest.mark.parametrize("memory", [None, 4])
async def test_shared_decoding_gives_the_same_input(memory: int | None) -> None:
    reader = ImageReader(memory=memory and memory * 1_000_000)
    pixels = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels))
    photos = Decoder(PhotoPreprocess(), reader)
    digits = Decoder(DigitPreprocess(), reader)
    image = SharedImage(data, [digits, photos])
    assert np.array_equal(image.decode(digits).rows, digits.decode(data).rows)
    assert np.array_equal(image.decode(photos).rows, photos.decode(data).rows)
