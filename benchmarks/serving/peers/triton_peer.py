"""Triton Inference Server by PyTriton: HTTP and batching in C++, the model in a Python process.

BENCH_MODEL=FOLDER python -m benchmarks.serving.peers.triton_peer 8000
"""

import sys
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.serving.peers import model

network = model.OnnxNetwork()


@batch  # type: ignore[untyped-decorator]
def classify(image: Any) -> dict[str, Any]:
    """Classify a batch of image files, bytes (N, 1); return the probabilities (N, classes)."""
    inputs = np.stack([np.asarray(model.decode(content)) for (content,) in image])
    return {"probabilities": network(inputs)}


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1", http_port=int(sys.argv[1]), allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as server:
        server.bind(
            model_name="classifier",
            infer_func=classify,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=8, batcher=DynamicBatcher()),
        )
        server.serve()
