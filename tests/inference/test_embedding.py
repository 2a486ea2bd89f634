"""Classifier.embed returns the features of an image, in the batches of its classifications."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import ImageError, NoFeaturesError
from backend.inference.models import artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.fake_models import fake_loader, write_model
from tests.images import encoded
from tests.inference.heads import write_backbone

pytestmark = pytest.mark.anyio


@pytest.fixture
def backbone(tmp_path: Path) -> Iterator[Classifier]:
    model = artifact.read(write_backbone(tmp_path))
    classifier = Classifier(model, partial(runtimes.load, model, "onnx"))
    yield classifier
    classifier.close()


async def test_embedding_has_the_direction_of_the_features(backbone: Classifier) -> None:
    embedding = await backbone.embed(encoded(Image.new("RGB", (64, 64), (96, 0, 0))))
    assert backbone.dimensions == 3
    np.testing.assert_allclose(embedding, (1, 0, 0), atol=1e-6)


async def test_embedding_of_an_image_without_features_is_finite(backbone: Classifier) -> None:
    embedding = await backbone.embed(encoded(Image.new("RGB", (64, 64))))
    np.testing.assert_array_equal(embedding, (0, 0, 0))


async def test_broken_image_has_no_embedding(backbone: Classifier) -> None:
    with pytest.raises(ImageError):
        await backbone.embed(b"not an image")


async def test_network_without_features_raises(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path))
    classifier = Classifier(model, partial(fake_loader(FakeRuntime(10)), model))
    try:
        assert classifier.dimensions is None
        with pytest.raises(NoFeaturesError, match="model fake"):
            await classifier.embed(encoded(Image.new("RGB", (64, 64))))
    finally:
        classifier.close()
