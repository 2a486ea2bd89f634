import re

import pytest
import torch
from torch import Tensor, nn

from backend.inference.models import networks
from training.package.heads import describe_head, is_probability, replace_head, suggest
from training.package.model_spec import PackageError


class Small(nn.Module):
    """A body, and a head called `fc` as in torchvision's resnet."""

    def __init__(self, head: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.fc = head or nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x))  # type: ignore[no-any-return]


HEAD = nn.Sequential(
    nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3, bias=False)
)
TEXT = "linear 5, batchnorm, relu, dropout, linear"


@pytest.mark.parametrize("prefix", ["", "model."])
def test_head_gets_its_sizes_from_the_checkpoint(prefix: str) -> None:
    trained = Small(HEAD).eval()
    tensors = {f"{prefix}{name}": tensor for name, tensor in trained.state_dict().items()}
    network = Small()
    network.load_state_dict(replace_head(network, TEXT, tensors))
    x = torch.randn(2, 4)
    torch.testing.assert_close(network.eval()(x), trained(x))


def test_suggested_head_fits_the_checkpoint() -> None:
    trained = Small(HEAD)
    suggestion = suggest(Small(), trained.state_dict())
    assert suggestion == "linear 5, batchnorm, relu, dropout, linear"
    fitting = Small().state_dict()
    assert suggest(Small(), fitting) is None
    teacher = {f"teacher.{name}": tensor for name, tensor in Small(HEAD).state_dict().items()}
    student = {f"student.{name}": tensor for name, tensor in fitting.items()}
    assert suggest(Small(), teacher | student) is None


def test_head_of_another_size_is_described() -> None:
    tensors = Small(HEAD).state_dict()
    with pytest.raises(PackageError, match=r"layer 1 has 5 outputs, not 7") as error:
        replace_head(Small(), TEXT.replace("5", "7"), tensors)
    assert "fc.0.weight (5, 6)" in str(error.value)
    assert "fc.0.weight (5, 6)" in describe_head(Small(), tensors)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("linear 5, relu, linear", "there is no tensor fc.2.weight"),
        ("linear 5, magic", "'magic' is not a layer; known are linear"),
        ("", "'' is not a layer"),
        ("batchnorm, linear", "is not a batchnorm layer"),
    ],
)
def test_head_that_does_not_match_is_refused(head: str, message: str) -> None:
    network = Small()
    with pytest.raises(PackageError, match=re.escape(message)):
        replace_head(network, head, Small(HEAD).state_dict())
    assert isinstance(network.fc, nn.Linear)


def test_head_inside_a_sequential_classifier_is_found() -> None:
    trained = networks.build("torchvision/alexnet", 2)
    head = nn.Sequential(nn.Linear(4096, 8), nn.ReLU(), nn.Linear(8, 2))
    trained.set_submodule("classifier.6", head)
    network = networks.build("torchvision/alexnet", 2)
    tensors = trained.state_dict()
    assert set(replace_head(network, "linear, relu, linear", tensors)) == set(tensors)


def test_softmax_or_sigmoid_at_the_end_returns_probabilities() -> None:
    assert is_probability(nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)))
    assert is_probability(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()))
    assert not is_probability(nn.Sequential(nn.Linear(2, 2)))
