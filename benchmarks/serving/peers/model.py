"""The model that a peer was given: its labels, its network with the weights, its preprocessing."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from backend.inference.models import torchvision_compat

models = torchvision_compat.load("models")
transforms = torchvision_compat.load("transforms")

FOLDER = Path(os.environ["BENCH_MODEL"])
_MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
LABELS: list[str] = _MANIFEST["labels"]
_DIGITS = _MANIFEST["preprocess"]["kind"] == "digit"


def transform() -> Any:
    """A PIL image -> a tensor, as the tutorials of torchvision and MNIST do it."""
    if _DIGITS:
        return transforms.Compose(
            [
                transforms.Grayscale(),
                transforms.Resize((28, 28)),
                transforms.ToTensor(),
                transforms.Normalize((0.1307,), (0.3081,)),
            ]
        )
    return transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


def image_mode() -> str:
    """What the picture is converted to before the transforms."""
    return "L" if _DIGITS else "RGB"


def network() -> nn.Module:
    """The eager torch network with the folder's weights, ready to predict."""
    built: nn.Module
    if _DIGITS:
        built = _Digits()
    else:
        name = _MANIFEST["architecture"].removeprefix("torchvision/")
        built = models.get_model(name, weights=None)
    built.load_state_dict(load_file(FOLDER / "weights.safetensors"))
    return built.eval()


class _Digits(nn.Module):
    """The shipped digit network, written once more: a peer uses none of Prism's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 16),
            nn.ReLU(),
            *_convolution(16, 32, stride=2),
            nn.ReLU(),
            _Residual(*_convolution(32, 32)),
            nn.MaxPool2d(2),
            *_convolution(32, 64),
            nn.ReLU(),
            _Residual(*_convolution(64, 64), nn.ReLU(), *_convolution(64, 64)),
            nn.MaxPool2d(2),
            *_convolution(64, 128),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(128 * 3 * 3, 128),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(128, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) -> logits (N, 10)."""
        logits: torch.Tensor = self.classifier(self.features(x))
        return logits


class _Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.layers(x))


def _convolution(before: int, after: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after)
