"""EfficientNet-Lite: sizes of outputs and weights, and TensorFlow's padding."""

import pytest
import torch
from torch import nn

from backend.inference.models import networks
from backend.inference.models.efficientnet_lite import SCALES, EfficientNetLite


@pytest.mark.parametrize(
    ("name", "elements"),  # as published, with batch normalization fused
    [
        ("efficientnet-lite0", 4_631_000),
        ("efficientnet-lite1", 5_389_848),
        ("efficientnet-lite2", 6_063_024),
    ],
)
def test_networks_have_the_published_number_of_weights(name: str, elements: int) -> None:
    network = networks.build(name, 1000)
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == elements


def test_number_of_classes_is_chosen() -> None:
    network = EfficientNetLite(SCALES["efficientnet-lite0"], 7).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 224, 224)).shape == (2, 7)


def test_convolutions_pad_as_tensorflow_does() -> None:
    """With SAME, a stride of 2 halves the side, rounded up; odd padding is larger at the end."""
    scale = SCALES["efficientnet-lite2"]
    network = EfficientNetLite(scale, 2).eval()
    paddings = [each.padding for each in network.modules() if isinstance(each, nn.ZeroPad2d)]
    assert paddings == [(0, 1, 0, 1), (0, 1, 0, 1)]  # 260 -> 130 -> 65
    with torch.inference_mode():
        maps = network.features(torch.zeros(1, 3, scale.side, scale.side))
    assert maps.shape == (1, 1280, 9, 9)
