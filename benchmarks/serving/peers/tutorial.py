"""A backend as in tutorials: all work is done inside the async route.

BENCH_MODEL=FOLDER BENCH_RUNTIME=torch|onnx \\
    python -m uvicorn benchmarks.serving.peers.tutorial:app --port 8000
"""

import io
import os
from collections.abc import Callable
from typing import Annotated, Any

import torch
from fastapi import FastAPI, File, UploadFile
from PIL import Image

from benchmarks.serving.peers import model as peer_model

app = FastAPI()
transform = peer_model.transform()


def _load() -> Callable[[torch.Tensor], Any]:
    """Return the forward pass: from inputs (N, C, H, W) to probabilities (N, classes)."""
    if os.environ.get("BENCH_RUNTIME") == "onnx":
        network = peer_model.OnnxNetwork()
        return lambda batch: network(batch.numpy())
    model = peer_model.network()

    def forward(batch: torch.Tensor) -> Any:
        with torch.no_grad():
            return torch.softmax(model(batch), dim=1)

    return forward


classify = _load()


@app.post("/predict")
async def predict(file: Annotated[UploadFile, File()]) -> dict[str, object]:
    """Classify one image; this blocks the event loop."""
    contents = await file.read()
    image = Image.open(io.BytesIO(contents)).convert(peer_model.image_mode())
    probabilities = classify(transform(image).unsqueeze(0))[0]
    return peer_model.respond(probabilities)
