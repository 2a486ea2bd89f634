"""BentoML as its documents show it, with adaptive batching.

BENCH_MODEL=FOLDER bentoml serve bench.peers.bento:Classifier --port 8000
"""

import bentoml
import torch
from PIL.Image import Image

from bench.peers import given


@bentoml.service
class Classifier:
    """The eager torch network."""

    def __init__(self) -> None:
        self.transform = given.transform()
        self.model = given.network()

    @bentoml.api(batchable=True, max_batch_size=8)  # type: ignore[untyped-decorator]
    def predict(self, file: list[Image]) -> list[dict[str, object]]:
        """Classify the pictures of a batch."""
        mode = given.image_mode()
        batch = torch.stack([self.transform(image.convert(mode)) for image in file])
        with torch.inference_mode():
            probabilities = torch.softmax(self.model(batch), dim=1)
        confidences, indices = probabilities.max(dim=1)
        return [
            {"prediction": given.LABELS[int(index)], "confidence": float(confidence)}
            for index, confidence in zip(indices, confidences, strict=True)
        ]
