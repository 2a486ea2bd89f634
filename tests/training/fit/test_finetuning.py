"""Fine-tuning starts at a head, and improves the loss."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from backend.inference.models import networks
from backend.inference.models.efficientnet_lite import EfficientNetLite
from backend.inference.preprocessing.photos import prepare_photo
from tests.training.small_photos import ARCHITECTURE, COLORS, SPEC, use_tiny_scale
from training.fit.finetuning import Photographs, Schedule, embed, finetune, replace_classifier

CPU = torch.device("cpu")
IMAGES = [Image.new("RGB", (53, 40), color) for color in COLORS.values()] * 8
TRUTH = np.array([0, 1] * 8)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[EfficientNetLite]:
    use_tiny_scale(monkeypatch)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would only wait for each other
    torch.manual_seed(0)
    network = networks.build(ARCHITECTURE, 10)
    assert isinstance(network, EfficientNetLite)
    yield network
    torch.set_num_threads(threads)


def test_network_starts_with_the_logits_of_the_head(network: EfficientNetLite) -> None:
    rows = prepare_photo(IMAGES[0], SPEC)[np.newaxis]
    features = embed(network, rows, CPU)
    norm = float(np.linalg.norm(features))
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, features.shape[1])), rng.normal(size=(3,))
    replace_classifier(network, weight.astype(np.float32), bias.astype(np.float32), norm)
    with torch.inference_mode():
        logits = network(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(logits, features / norm @ weight.T + bias, atol=1e-4)


def test_loss_decreases_and_depends_on_the_seed_only(network: EfficientNetLite) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    data = Photographs(IMAGES, TRUTH, SPEC)
    losses = finetune(network, data, Schedule(epochs=3, rate=1e-3), CPU)
    assert losses[-1] < losses[0]
    assert not network.training
    first = next(iter(before))
    assert not torch.equal(before[first], network.state_dict()[first])
    network.load_state_dict(before)
    assert finetune(network, data, Schedule(epochs=3, rate=1e-3), CPU) == losses


def test_images_are_augmented_at_each_access() -> None:
    data = Photographs(IMAGES, TRUTH, SPEC)
    first, again = data[0][0], data[0][0]
    assert first.shape == (3, 32, 32)
    assert not torch.equal(first, again)
