"""LitServe as in its documentation, with batching, for torch or for ONNX Runtime.

BENCH_MODEL=FOLDER python -m benchmarks.serving.peers.litserve_peer 8000 [onnx]
"""

import sys
from typing import Any

import litserve as ls
import numpy as np
import torch
from fastapi import Request
from PIL import Image

from benchmarks.serving.peers import model


class Classifier(ls.LitAPI):  # type: ignore[misc]  # not installed where types are checked
    """The image classifier of the documentation, with torch."""

    def setup(self, device: str) -> None:
        """Load the model in a worker."""
        self.transform = model.transform()
        self.model = model.network().to(device)

    def decode_request(self, request: Request) -> torch.Tensor:
        """Convert the form field `file` to an input."""
        image = Image.open(request["file"].file).convert(model.image_mode())
        decoded: torch.Tensor = self.transform(image)
        return decoded

    def predict(self, x: torch.Tensor) -> Any:
        """Return the probabilities of a batch of inputs."""
        with torch.inference_mode():
            return torch.softmax(self.model(x), dim=1)

    def encode_response(self, output: Any) -> dict[str, object]:
        """Convert the probabilities of one image to the response."""
        return model.respond(output)


class OnnxClassifier(Classifier):
    """The same classifier with ONNX Runtime."""

    def setup(self, device: str) -> None:
        """Load the model in a worker."""
        self.transform = model.transform()
        self.network = model.OnnxNetwork()

    def predict(self, x: torch.Tensor) -> Any:
        """Return the probabilities of a batch of inputs."""
        return self.network(np.asarray(x))


if __name__ == "__main__":
    api = OnnxClassifier if "onnx" in sys.argv[2:] else Classifier
    server = ls.LitServer(api(max_batch_size=8, batch_timeout=0.01), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
