"""MOSEC as in its documentation: HTTP and batching in Rust, the model in a Python process.

BENCH_MODEL=FOLDER python -m benchmarks.serving.peers.mosec_peer --port 8000
"""

from typing import Any

import numpy as np
from mosec import Server, Worker

from benchmarks.serving.peers import model


class Classifier(Worker):  # type: ignore[misc]  # not installed where types are checked
    """The image classifier with ONNX Runtime; a request is the image file."""

    def __init__(self) -> None:
        super().__init__()
        self.network = model.OnnxNetwork()

    def deserialize(self, data: bytes) -> Any:
        """Return the input (C, H, W) of an image file."""
        return np.asarray(model.decode(data))

    def forward(self, data: list[Any]) -> list[dict[str, object]]:
        """Classify a batch."""
        return [model.respond(row) for row in self.network(np.stack(data))]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classifier, num=1, max_batch_size=8, max_wait_time=10)
    server.run()
