"""Taught models classify from the features of their backbone, in its batches."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError, ImageError
from backend.inference.head_classifier import HeadClassifier
from backend.inference.models import artifact
from backend.inference.observer import BatchReason, Observer
from calibration import apply
from tests.fake_models import CALIBRATION
from tests.images import encoded
from tests.inference.heads import CENTERS, TENSORS, write_backbone, write_head

pytestmark = pytest.mark.anyio

RED, GREEN, BLUE = (
    encoded(Image.new("RGB", (64, 64), color)) for color in ((96, 0, 0), (0, 96, 0), (0, 0, 96))
)


class Counter(Observer):
    def __init__(self) -> None:
        self.batches: list[int] = []
        self.ends: list[str] = []

    def batch(self, size: int, reason: BatchReason) -> None:
        self.batches.append(size)

    def answered(self, decode: float, queue: float, inference: float) -> None:
        self.ends.append("answered")

    def failed(self, cause: str | BaseException) -> None:
        self.ends.append("failed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_backbone(tmp_path)


@pytest.fixture
def observed() -> Counter:
    return Counter()


@pytest.fixture
def backbone(folder: Path, observed: Counter) -> Iterator[Classifier]:
    model = artifact.read(folder)
    classifier = Classifier(
        model, partial(runtimes.load, model, "onnx"), threads=1, observer=observed
    )
    yield classifier
    classifier.close()


Create = Callable[..., HeadClassifier]


@pytest.fixture
def create(tmp_path: Path, folder: Path, backbone: Classifier) -> Create:
    def create(name: str = "colors", observer: Observer | None = None, **fields: Any) -> Any:
        head = artifact.read(write_head(tmp_path, name, backbone=folder, **fields))
        return HeadClassifier(head, backbone, observer=observer)

    return create


def calibration(**fields: Any) -> dict[str, Any]:
    return CALIBRATION | {"temperature": 3.0} | fields


async def test_probabilities_are_the_calibrated_softmax_of_the_head(create: Create) -> None:
    head = create(calibration=calibration())
    result = await head.classify(RED)
    assert result.top(1)[0].label == "red"
    np.testing.assert_allclose(result.probabilities[1], 1 / (1 + np.exp(9 / 3)), rtol=1e-4)
    assert result.prediction_set(0.95) == ("red",)
    assert result.ood_score == pytest.approx(-np.log(np.exp(9) + 1), rel=1e-4)
    assert result.in_distribution
    assert not (await head.classify(BLUE)).in_distribution
    assert result.timings.decode > 0


async def test_images_of_a_job_are_classified_as_single_ones(create: Create) -> None:
    head = create(calibration=calibration())
    results = head.classify_all([RED, b"broken", GREEN])
    assert isinstance(results.pop(1), ImageError)
    for image, result in zip((RED, GREEN), results, strict=True):
        single = await head.classify(image)
        assert not isinstance(result, Exception)
        np.testing.assert_allclose(result.probabilities, single.probabilities, atol=1e-6)
        assert result.ood_score == pytest.approx(single.ood_score, abs=1e-5)
        assert result.features is not None


async def test_uncalibrated_head_gives_no_verdict(create: Create) -> None:
    result = await create().classify(RED)
    assert result.in_distribution is None
    assert result.prediction_set(0.95) is None


async def test_feature_distance_is_that_to_the_nearest_center(create: Create) -> None:
    head = create(
        tensors=TENSORS | CENTERS,
        calibration=calibration(ood_method="feature_distance", max_ood_score=0.5),
    )
    red, blue = await head.classify(RED), await head.classify(BLUE)
    assert red.ood_score == pytest.approx(0, abs=1e-6)
    assert blue.ood_score == pytest.approx(1)
    assert (red.in_distribution, blue.in_distribution) == (True, False)


async def test_feature_distance_is_measured_at_the_origin(create: Create) -> None:
    origin = np.array([0, 0, 1], dtype=np.float32)
    centers = apply.normalize(CENTERS["centers"] - origin)
    head = create(
        tensors={**TENSORS, "centers": centers, "origin": origin},
        calibration=calibration(ood_method="feature_distance", max_ood_score=0.5),
    )
    assert (await head.classify(RED)).ood_score == pytest.approx(0, abs=1e-6)


async def test_none_of_these_is_out_of_distribution(create: Create) -> None:
    head = create(labels=("red", "None of these"), calibration=calibration(max_ood_score=99))
    assert (await head.classify(RED)).in_distribution
    assert (await head.classify(GREEN)).in_distribution is False


async def test_images_of_several_heads_and_the_backbone_share_a_batch(
    create: Create, backbone: Classifier, observed: Counter
) -> None:
    first, second = create("first"), create("second", labels=("other", "leaf"))
    observed.batches.clear()
    results = await asyncio.gather(
        *(each.classify(GREEN) for each in (first, second, backbone) * 4)
    )
    assert [each.top(1)[0].label for each in results] == ["green", "leaf", "green"] * 4
    assert max(observed.batches) > 3
    assert sum(observed.batches) == 12


async def test_observer_of_the_head_counts_its_images(
    create: Create, backbone: Classifier, observed: Counter
) -> None:
    counter = Counter()
    head = create(observer=counter)
    await head.classify(RED)
    with pytest.raises(ImageError):
        await head.classify(b"not an image")
    assert counter.ends == ["answered", "failed"]
    assert observed.ends == []
    assert (head.activity, backbone.activity) == (2, 0)


async def test_inputs_and_embeddings_and_model_inputs_come_from_the_backbone(
    create: Create,
) -> None:
    head = create()
    (result,) = await head.classify_inputs(head.decoder.decode(GREEN).rows)
    assert result.top(1)[0].label == "green"
    np.testing.assert_allclose(await head.embed(GREEN), (0, 1, 0), atol=1e-6)
    assert (await head.model_input_png(GREEN)).startswith(b"\x89PNG")


async def test_explanation_shows_where_the_evidence_of_the_head_is(create: Create) -> None:
    image = Image.new("RGB", (64, 64), (0, 0, 99))
    image.paste((255, 0, 0), (0, 0, 32, 32))
    head = create()
    result = await head.classify(encoded(image))
    found = await head.explain(encoded(image), result, 60)
    assert found is not None
    assert found.label == "red"


async def test_head_must_fit_its_backbone(create: Create) -> None:
    other = {"name": "photos", "sha256": "0" * 64}
    with pytest.raises(ArtifactError, match="taught with other weights"):
        create("weights", backbone_of=other)
    wide = np.zeros((2, 4), dtype=np.float32)
    with pytest.raises(ArtifactError, match="expects 4 features, but the backbone photos ret"):
        create("wide", tensors=TENSORS | {"weight": wide})
    with pytest.raises(ArtifactError, match="preprocess differs"):
        create("mean", preprocess={"kind": "image", "mean": [0.5, 0.5, 0.5]})
