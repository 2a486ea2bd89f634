"""BentoML as its documents show it, with adaptive batching and ONNX Runtime.

BENCH_MODEL=FOLDER bentoml serve benchmarks.serving.peers.bentoml_onnx:Classifier --port 8000
"""

import bentoml
import numpy as np
from PIL.Image import Image

from benchmarks.serving.peers import model
from benchmarks.serving.peers.onnx_session import Graph


@bentoml.service
class Classifier:
    """The folder's graph."""

    def __init__(self) -> None:
        self.transform = model.transform()
        self.graph = Graph()

    @bentoml.api(batchable=True, max_batch_size=8)  # type: ignore[untyped-decorator]
    def predict(self, file: list[Image]) -> list[dict[str, object]]:
        """Classify the pictures of a batch."""
        mode = model.image_mode()
        batch = np.stack([np.asarray(self.transform(image.convert(mode))) for image in file])
        return [
            {"prediction": model.LABELS[int(shares.argmax())], "confidence": float(shares.max())}
            for shares in self.graph(batch)
        ]
