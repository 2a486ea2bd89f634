"""Ray Serve as in its documentation, with batching and ONNX Runtime.

BENCH_MODEL=FOLDER python -m benchmarks.serving.peers.ray_peer 8000
"""

import sys
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers import model


class Classifier:
    """The image classifier with ONNX Runtime."""

    def __init__(self) -> None:
        self.network = model.OnnxNetwork()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)  # type: ignore[untyped-decorator]
    async def classify(self, inputs: list[Any]) -> list[dict[str, object]]:
        """Classify a batch of inputs (C, H, W)."""
        return [model.respond(row) for row in self.network(np.stack(inputs))]

    async def __call__(self, request: Request) -> Any:
        """Classify the form field `file`."""
        form = await request.form()
        content = await form["file"].read()  # type: ignore[union-attr]
        return await self.classify(np.asarray(model.decode(content)))


if __name__ == "__main__":
    ray.init(include_dashboard=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    deployment = serve.deployment(Classifier, max_ongoing_requests=64)
    serve.run(deployment.bind(), route_prefix="/predict", blocking=True)
