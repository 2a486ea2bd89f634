"""BentoML as in its documentation, with adaptive batching, for torch and for ONNX Runtime.

BENCH_MODEL=FOLDER bentoml serve benchmarks.serving.peers.bentoml_peer:TorchClassifier --port 8000
"""

from collections.abc import Iterable
from typing import Any

import bentoml
import numpy as np
import torch
from PIL.Image import Image

from benchmarks.serving.peers import model


class _Classifier:
    def __init__(self) -> None:
        self.transform = model.transform()

    @bentoml.api(batchable=True, max_batch_size=8)  # type: ignore[untyped-decorator]
    def predict(self, file: list[Image]) -> list[dict[str, object]]:
        """Classify the images of a batch."""
        inputs = [self.transform(image.convert(model.image_mode())) for image in file]
        return [model.respond(row) for row in self.probabilities(inputs)]

    def probabilities(self, inputs: list[torch.Tensor]) -> Iterable[Any]:
        """Return the probabilities of each input."""
        raise NotImplementedError


@bentoml.service
class TorchClassifier(_Classifier):
    """The eager torch network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = model.network()

    def probabilities(self, inputs: list[torch.Tensor]) -> Iterable[Any]:
        """Return the probabilities of each input."""
        with torch.inference_mode():
            return torch.softmax(self.network(torch.stack(inputs)), dim=1)


@bentoml.service
class OnnxClassifier(_Classifier):
    """The ONNX model."""

    def __init__(self) -> None:
        super().__init__()
        self.network = model.OnnxNetwork()

    def probabilities(self, inputs: list[torch.Tensor]) -> Iterable[Any]:
        """Return the probabilities of each input."""
        return self.network(np.stack([np.asarray(tensor) for tensor in inputs]))
