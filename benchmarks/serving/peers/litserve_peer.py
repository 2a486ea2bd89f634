"""LitServe as its documents show it, with batching; torch, or ONNX Runtime on request.

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
    """The image classifier of the documents."""

    def setup(self, device: str) -> None:
        """Load the model, once in each worker."""
        self.transform = model.transform()
        self.model = model.network().to(device)

    def decode_request(self, request: Request) -> torch.Tensor:
        """The form field `file` -> an input."""
        image = Image.open(request["file"].file).convert(model.image_mode())
        decoded: torch.Tensor = self.transform(image)
        return decoded

    def predict(self, x: torch.Tensor) -> Any:
        """A batch of inputs -> probabilities."""
        with torch.inference_mode():
            return torch.softmax(self.model(x), dim=1)

    def encode_response(self, output: Any) -> dict[str, object]:
        """The probabilities of one picture -> the answer."""
        index = int(output.argmax())
        return {"prediction": model.LABELS[index], "confidence": float(output[index])}


class GraphClassifier(Classifier):
    """The same with ONNX Runtime."""

    def setup(self, device: str) -> None:
        """Load the graph, once in each worker."""
        from benchmarks.serving.peers.onnx_session import Graph

        self.transform = model.transform()
        self.graph = Graph()

    def predict(self, x: torch.Tensor) -> Any:
        """A batch of inputs -> probabilities."""
        return self.graph(np.asarray(x))


if __name__ == "__main__":
    kind = GraphClassifier if "onnx" in sys.argv[2:] else Classifier
    server = ls.LitServer(kind(max_batch_size=8, batch_timeout=0.01), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
