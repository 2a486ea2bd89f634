"""Built-in and torchvision architectures, by name."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, networks


@pytest.mark.parametrize("architecture", sorted(networks.DIGIT_ARCHITECTURES))
def test_digit_networks_return_ten_outputs(architecture: str) -> None:
    network = networks.build(architecture).eval()
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_shipped_network_has_at_most_two_megabytes() -> None:
    parameters = networks.build("mnist-cnn").state_dict().values()
    assert sum(tensor.numel() * tensor.element_size() for tensor in parameters) <= 2_000_000


def test_shipped_network_needs_at_most_nine_million_multiply_adds_per_image() -> None:
    network = networks.build("mnist-cnn").eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 28, 28))
    assert counter.get_total_flops() / 2 <= 9_000_000


def test_mnist_net_matches_the_pytorch_example() -> None:
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


def test_mnist_net_returns_log_probabilities() -> None:
    network = networks.build("mnist-net").eval()
    scores = network(torch.randn(4, 1, 28, 28))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(4))


def test_manifests_accept_every_built_in_architecture() -> None:
    assert set(artifact.BUILTIN_ARCHITECTURES) == set(networks.ARCHITECTURES)


def test_torchvision_architectures_support_any_number_of_classes() -> None:
    network = networks.build("torchvision/squeezenet1_0", 7).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize("name", ["resnet9000", "fcos_resnet50_fpn", "r3d_18", "detection"])
def test_torchvision_name_that_is_not_a_classifier_raises_artifact_error(name: str) -> None:
    with pytest.raises(ArtifactError, match=name):
        networks.build(f"torchvision/{name}", 10)


def test_unknown_architecture_error_lists_known_ones() -> None:
    with pytest.raises(ArtifactError, match="mnist-cnn, mnist-mlp, mnist-net"):
        networks.build("resnet-9000")
