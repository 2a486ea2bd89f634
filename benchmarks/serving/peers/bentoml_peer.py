"""BentoML as its documents show it, with adaptive batching.

BENCH_MODEL=FOLDER bentoml serve benchmarks.serving.peers.bentoml_peer:Classifier --port 8000
"""

import bentoml
import torch
from PIL.Image import Image

from benchmarks.serving.peers import model


@bentoml.service
class Classifier:
    """The eager torch network."""

    def __init__(self) -> None:
        self.transform = model.transform()
        self.model = model.network()

    @bentoml.api(batchable=True, max_batch_size=8)  # type: ignore[untyped-decorator]
    def predict(self, file: list[Image]) -> list[dict[str, object]]:
        """Classify the pictures of a batch."""
        mode = model.image_mode()
        batch = torch.stack([self.transform(image.convert(mode)) for image in file])
        with torch.inference_mode():
            probabilities = torch.softmax(self.model(batch), dim=1)
        confidences, indices = probabilities.max(dim=1)
        return [
            {"prediction": model.LABELS[int(index)], "confidence": float(confidence)}
            for index, confidence in zip(indices, confidences, strict=True)
        ]
