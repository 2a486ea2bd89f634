"""The model of a peer, from the folder BENCH_MODEL: labels, preprocessing and networks."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from backend.inference.models import torchvision_compat

Floats = NDArray[np.float32]

_models = torchvision_compat.load("models")
_transforms = torchvision_compat.load("transforms")
_FOLDER = Path(os.environ["BENCH_MODEL"])
_MANIFEST = json.loads((_FOLDER / "manifest.json").read_text())
LABELS: list[str] = _MANIFEST["labels"]
_PREPROCESS = _MANIFEST["preprocess"]
_IS_DIGIT_MODEL = _PREPROCESS["kind"] == "digit"


def transform() -> Any:
    """Return the conversion of a PIL image to a tensor, as in torchvision and MNIST tutorials."""
    if _IS_DIGIT_MODEL:
        resize = [_transforms.Grayscale(), _transforms.Resize((28, 28))]
        normalize = _transforms.Normalize((0.1307,), (0.3081,))
    else:
        mode = _transforms.InterpolationMode(_PREPROCESS["interpolation"])
        resize = [
            _transforms.Resize(_PREPROCESS["resize"], mode),
            _transforms.CenterCrop(_PREPROCESS["crop"]),
        ]
        normalize = _transforms.Normalize(_PREPROCESS["mean"], _PREPROCESS["std"])
    return _transforms.Compose([*resize, _transforms.ToTensor(), normalize])


def image_mode() -> str:
    """Return the PIL mode that the transform expects."""
    return "L" if _IS_DIGIT_MODEL else "RGB"


def network() -> nn.Module:
    """Return the eager torch network with the weights, in evaluation mode."""
    module: nn.Module
    if _IS_DIGIT_MODEL:
        module = _DigitNetwork()
    else:
        name = _MANIFEST["architecture"].removeprefix("torchvision/")
        module = _models.get_model(name, weights=None)
    module.load_state_dict(load_file(_FOLDER / "weights.safetensors"))
    return module.eval()


class OnnxNetwork:
    """`model.onnx` in ONNX Runtime with default options.

    Maps inputs (N, C, H, W), float32, to probabilities (N, classes).
    """

    def __init__(self) -> None:
        import onnxruntime as ort  # not required by the torch peers

        path = str(_FOLDER / "model.onnx")
        self._session: Any = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def __call__(self, batch: Floats) -> Floats:
        (logits,) = self._session.run([self._output], {self._input: batch})
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities


class _DigitNetwork(nn.Module):
    """A copy of the bundled digit network, because peers must not use Prism's networks."""

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
        """Map inputs (N, 1, 28, 28) to logits (N, 10)."""
        logits: torch.Tensor = self.classifier(self.features(x))
        return logits


class _Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.layers(x))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs)
