"""Classification through the backend: caching, batches, errors, previews."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from client import BackendError, BackendUnreachable, Classification, Client, ItemError
from frontend.service import predictions
from frontend.service.errors import UnreadableImageError
from frontend.service.predictions import (
    BATCH_IMAGES,
    PREVIEW_BACKGROUND,
    PREVIEW_SIDE,
    ImageFile,
    Outcome,
    PredictionCache,
    PredictionRequest,
)
from tests.frontend.fake_client import BAD, GOOD, FakeClient, classify_or_reject, image_files
from tests.frontend.samples import MODEL
from tests.images import encoded, seven

REQUEST = PredictionRequest(MODEL)


def classify(
    client: Client, images: Sequence[ImageFile], cache: PredictionCache | None = None
) -> list[Outcome]:
    return predictions.classify(client, REQUEST, images, cache or PredictionCache())


def test_rejected_image_fails_alone() -> None:
    assert classify(FakeClient(classify_or_reject), image_files("a", "bad", "b")) == [
        GOOD,
        BAD,
        GOOD,
    ]
    assert classify(FakeClient(classify_or_reject), image_files("bad")) == [BAD]


def test_same_image_is_classified_once() -> None:
    client, cache = FakeClient(classify_or_reject), PredictionCache()
    classify(client, image_files("a", "b", "a", "bad"), cache)
    classify(client, image_files("a", "b", "a", "bad"), cache)
    assert client.batches == [3]


def test_cache_distinguishes_coverages() -> None:
    client, cache = FakeClient(classify_or_reject), PredictionCache()
    for coverage in (0.95, 0.99, 0.95, None):
        predictions.classify(client, PredictionRequest(MODEL, coverage), image_files("a"), cache)
    predictions.classify(client, PredictionRequest(MODEL, 0.9), image_files("a", "b"), cache)
    assert client.coverages == [0.95, 0.99, None, 0.9]


def test_many_images_are_sent_in_batches_with_progress() -> None:
    client = FakeClient(classify_or_reject)
    calls: list[tuple[int, int]] = []
    images = image_files(*map(str, range(BATCH_IMAGES + 1)))
    predictions.classify(
        client, REQUEST, images, PredictionCache(), lambda done, total: calls.append((done, total))
    )
    assert client.batches == [BATCH_IMAGES, 1]
    assert calls[-1] == (BATCH_IMAGES + 1, BATCH_IMAGES + 1)


def test_remaining_images_share_a_backend_failure_and_are_retried() -> None:
    unreachable = BackendUnreachable("http://fake")
    calls = 0

    def fail_on_second(content: bytes) -> Classification:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise unreachable
        return GOOD

    cache = PredictionCache()
    assert classify(FakeClient(fail_on_second), image_files("a", "b", "c"), cache) == [
        GOOD,
        unreachable,
        unreachable,
    ]
    client = FakeClient(classify_or_reject)
    assert classify(client, image_files("a", "b", "c"), cache) == [GOOD, GOOD, GOOD]
    assert client.batches == [2]


def test_batch_that_is_too_large_is_sent_image_by_image() -> None:
    class Small(FakeClient):
        def classify_batch(self, images: object, **_: Any) -> Iterator[Classification | ItemError]:
            raise BackendError(status=413)

    assert classify(Small(classify_or_reject), image_files("a", "bad", "b")) == [GOOD, BAD, GOOD]


def test_cache_is_bounded() -> None:
    cache = PredictionCache(limit=2)
    images = image_files("a", "b", "c")
    for image in images:
        cache.put(image, REQUEST, GOOD)
    assert [cache.get(image, REQUEST) for image in images] == [None, GOOD, GOOD]


def test_cached_outcome_is_returned_although_new_ones_evict_it() -> None:
    client, cache = FakeClient(classify_or_reject), PredictionCache(limit=2)
    classify(client, image_files("a", "bad"), cache)
    assert classify(client, image_files("a", "bad", "b", "c"), cache) == [GOOD, BAD, GOOD, GOOD]


def test_unreadable_image_is_not_sent() -> None:
    client = FakeClient(classify_or_reject)
    images = [*image_files("a"), ImageFile("damaged.png", b"", "It is damaged.")]
    good, damaged = classify(client, images)
    assert good == GOOD
    assert isinstance(damaged, UnreadableImageError)
    assert damaged.reason == "It is damaged."
    assert client.batches == [1]


def test_classifications_of_several_images_omit_probabilities() -> None:
    full = replace(GOOD, probabilities=(0.5, 0.5))
    assert classify(FakeClient(lambda _: full), image_files("a")) == [full]
    assert classify(FakeClient(lambda _: full), image_files("a", "b")) == [GOOD, GOOD]


def test_cache_distinguishes_requests_with_model_input() -> None:
    client, cache = FakeClient(classify_or_reject), PredictionCache()
    for model_input in (False, True, True):
        predictions.classify(
            client, PredictionRequest(MODEL, model_input=model_input), image_files("a"), cache
        )
    assert client.batches == [1, 1]


def open_preview(content: bytes) -> Image.Image:
    preview = ImageFile("x", content).preview
    assert preview is not None
    image = Image.open(BytesIO(preview))
    image.load()
    return image


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_preview_of_large_image_is_small(image_format: str) -> None:
    assert open_preview(encoded(seven(1200), image_format)).size == (PREVIEW_SIDE, PREVIEW_SIDE)


def test_preview_is_upright() -> None:
    photo = Image.new("RGB", (60, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    assert open_preview(encoded(photo, "JPEG", exif=exif)).size == (20, 60)


def test_preview_has_a_background_behind_transparent_ink() -> None:
    assert (
        open_preview(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))).getpixel((4, 4))
        == PREVIEW_BACKGROUND
    )


def test_preview_of_16_bit_image_keeps_its_shades() -> None:
    pixel = open_preview(encoded(Image.new("I;16", (8, 8), 128 * 256))).getpixel((4, 4))
    assert pixel == (128, 128, 128)


@pytest.mark.parametrize("content", [b"", b"hello", encoded(seven())[:200], b"\x89PNG\r\n\x1a\n"])
def test_invalid_image_has_no_preview(content: bytes) -> None:
    assert ImageFile("x", content).preview is None


def test_image_that_is_too_large_has_no_preview() -> None:
    assert ImageFile("x", encoded(Image.new("1", (8000, 8000)))).preview is None
