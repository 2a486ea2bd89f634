"""Our architectures, by name."""

import pytest
import torch

from backend.inference import networks
from backend.inference.errors import ArtifactError


@pytest.mark.parametrize("architecture", sorted(networks.ARCHITECTURES))
def test_every_architecture_gives_ten_scores(architecture: str) -> None:
    network = networks.build(architecture).eval()
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_the_shipped_network_fits_two_megabytes() -> None:
    parameters = networks.build("mnist-cnn").state_dict().values()
    assert sum(tensor.numel() * tensor.element_size() for tensor in parameters) <= 2_000_000


def test_mnist_net_is_the_net_of_the_pytorch_example() -> None:
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in networks.build("mnist-net").state_dict().items()
    }
    assert shapes == {
        "conv1.weight": (32, 1, 3, 3),
        "conv1.bias": (32,),
        "conv2.weight": (64, 32, 3, 3),
        "conv2.bias": (64,),
        "fc1.weight": (128, 9216),
        "fc1.bias": (128,),
        "fc2.weight": (10, 128),
        "fc2.bias": (10,),
    }


def test_mnist_net_gives_log_probabilities() -> None:
    network = networks.build("mnist-net").eval()
    scores = network(torch.randn(4, 1, 28, 28))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(4))


def test_an_unknown_architecture_says_which_are_known() -> None:
    with pytest.raises(ArtifactError, match="mnist-cnn, mnist-net"):
        networks.build("resnet-9000")
