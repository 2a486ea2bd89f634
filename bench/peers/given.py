"""The model that a peer was given: its labels, its network with the weights, its preprocessing."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from bench.vision import models, transforms

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
    """The shipped digit network, written once more: a peer imports nothing of Prism."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 32), (32, 64), (64, 96)):
            for channels in (before, after):
                layers += [
                    nn.Conv2d(channels, after, 3, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                ]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(96 * 3 * 3, 192),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(192, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) -> logits (N, 10)."""
        logits: torch.Tensor = self.classifier(self.features(x))
        return logits
