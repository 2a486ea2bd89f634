"""Built-in network architectures, by the name used in manifests.

The digit networks map normalized fields of shape (N, 1, 28, 28), float32, to logits of shape
(N, 10). `MnistNet` returns log-probabilities, which are valid logits: a softmax does not change
them.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.inference.errors import ArtifactError
from backend.inference.models import torchvision_compat
from backend.inference.models.efficientnet_lite import SCALES, EfficientNetLite


class MnistNet(nn.Module):
    """`Net` of the PyTorch MNIST example, which loads that example's `mnist_cnn.pt` unchanged.

    Maps (N, 1, 28, 28) to log-probabilities (N, 10). Source: pytorch/examples `mnist/main.py`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = self.dropout1(functional.max_pool2d(x, 2))
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)


class MnistCnn(nn.Module):
    """The bundled digit classifier: 3x3 convolutions at 28, 14, 7 and 3 pixels, two linear layers.

    Maps (N, 1, 28, 28) to logits (N, 10) in 8.2 million multiply-adds per image, because this cost
    bounds the throughput of a core. Only two convolutions read the whole field, most work is done
    at 7x7, and filters come in multiples of 16, which suits the kernels of ONNX Runtime.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(1, 16),
            *_block(16, 32, stride=2),
            _Residual(*_convolution(32, 32)),
            nn.MaxPool2d(2),
            *_block(32, 64),
            _Residual(*_block(64, 64), *_convolution(64, 64)),
            nn.MaxPool2d(2),
            *_block(64, 128),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(128 * 3 * 3, 128),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(128, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))  # type: ignore[no-any-return]


class MnistMlp(nn.Module):
    """Two dense layers of 128 units on the pixels, a baseline without convolutions.

    Maps (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, 128),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(128, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class _Residual(nn.Module):
    """Adds the output of `layers` to their input (He et al. 2015)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.layers(x))


def _block(channels: int, filters: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (*_convolution(channels, filters, stride), nn.ReLU())


def _convolution(channels: int, filters: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False), nn.BatchNorm2d(filters))


DIGIT_ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "mnist-cnn": MnistCnn,
    "mnist-mlp": MnistMlp,
    "mnist-net": MnistNet,
}
ARCHITECTURES = (*DIGIT_ARCHITECTURES, *SCALES)

# Their random initialization is slow. Their auxiliary outputs are used in training only.
_WITH_AUXILIARY_OUTPUTS = ("googlenet", "inception_v3")
_AUXILIARY_NAME = re.compile(r"(^|\.)(AuxLogits|aux1|aux2)\.")
# densenet before torchvision 0.2.1: `denselayer1.norm.1.weight` is now `denselayer1.norm1.weight`
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


def build(architecture: str, classes: int = 10) -> nn.Module:
    """Return a new network: one of `ARCHITECTURES`, or `torchvision/NAME`.

    `classes` is the number of classes, except for the digit networks, which have ten.

    Raise ArtifactError for other names, and if torchvision is not installed.
    """
    family, _, name = architecture.partition("/")
    if family == "torchvision" and name:
        return _from_torchvision(name, classes)
    if architecture in SCALES:
        return EfficientNetLite(SCALES[architecture], classes)
    if architecture not in DIGIT_ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ArtifactError(
            f"unknown architecture {architecture!r}; known are {known} and torchvision/NAME"
        )
    return DIGIT_ARCHITECTURES[architecture]()


def load_tensors(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load tensors from a file, which does not record the version of the network as torch does.

    It is taken for the current one; torchvision's MNASNet loads no tensors without it. Raise
    RuntimeError if names or shapes differ.
    """
    versioned = OrderedDict(tensors)
    versioned._metadata = {"": {"version": network._version}}  # type: ignore[attr-defined]
    network.load_state_dict(versioned)


def rename_tensors(architecture: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint as `build` names them.

    Tensors of auxiliary outputs, which only training uses, are left out.
    """
    _, _, name = architecture.partition("/")
    if name.startswith("densenet"):
        return {_OLD_DENSENET_NAME.sub(r"\1\2.", key): value for key, value in tensors.items()}
    if name in _WITH_AUXILIARY_OUTPUTS:
        return {k: v for k, v in tensors.items() if not _AUXILIARY_NAME.search(k)}
    return tensors


def torchvision_names() -> list[str]:
    """Return the names of torchvision's classifiers."""
    models = torchvision_compat.load("models")
    return list(models.list_models(module=models))


def load_torchvision(name: str) -> Any:
    """Return `torchvision.models`; raise ArtifactError if it has no classifier `name`."""
    try:
        names = torchvision_names()
    except ImportError as error:
        raise ArtifactError(
            f"torchvision/{name} requires torchvision: pip install -r requirements_backend.txt"
        ) from error
    if name not in names:
        similar = ", ".join(get_close_matches(name, names, cutoff=0.3))
        raise ArtifactError(
            f"torchvision has no classifier named {name!r}"
            + (f"; similar names are {similar}" if similar else "")
        )
    return torchvision_compat.load("models")


def _from_torchvision(name: str, classes: int) -> nn.Module:
    models = load_torchvision(name)
    options = {}
    if name in _WITH_AUXILIARY_OUTPUTS:
        options = {"init_weights": False, "aux_logits": False}
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return network
