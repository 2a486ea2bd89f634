"""The model of a peer, from the folder BENCH_MODEL: labels, preprocessing and networks.

Digits are prepared as in the tutorials of MNIST: inverted, because people draw dark on light, and
resized to 28x28. Their torch network is that of PyTorch's example with random weights, on which
the duration does not depend; the peers with ONNX Runtime use `model.onnx` of the folder.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
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
        resize = [ImageOps.invert, _transforms.Resize((28, 28))]
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
    if _IS_DIGIT_MODEL:
        torch.manual_seed(1)
        return Net().eval()
    name = _MANIFEST["architecture"].removeprefix("torchvision/")
    module: nn.Module = _models.get_model(name, weights=None)
    module.load_state_dict(load_file(_FOLDER / "weights.safetensors"))
    return module.eval()


def decode(content: bytes) -> torch.Tensor:
    """Return the input of the network (C, H, W) for an image file."""
    tensor: torch.Tensor = transform()(Image.open(io.BytesIO(content)).convert(image_mode()))
    return tensor


def respond(probabilities: Any) -> dict[str, object]:
    """Return the response for the probabilities (classes,) of one image."""
    index = int(probabilities.argmax())
    return {"prediction": LABELS[index], "confidence": float(probabilities[index])}


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


class Net(nn.Module):
    """The network of PyTorch's MNIST example, which digit tutorials use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map inputs (N, 1, 28, 28) to log-probabilities (N, 10)."""
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = self.dropout1(torch.max_pool2d(x, 2))
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        logits: torch.Tensor = self.fc2(self.dropout2(x))
        return torch.log_softmax(logits, dim=1)
