"""A backend as in tutorials: all work is done inside the async route.

BENCH_MODEL=FOLDER python -m uvicorn benchmarks.serving.peers.tutorial:app --port 8000
"""

import io
from typing import Annotated

import torch
from fastapi import FastAPI, File, UploadFile
from PIL import Image

from benchmarks.serving.peers import model as peer_model

app = FastAPI()
model = peer_model.network()
transform = peer_model.transform()


@app.post("/predict")
async def predict(file: Annotated[UploadFile, File()]) -> dict[str, object]:
    """Classify one image; this blocks the event loop."""
    contents = await file.read()
    image = Image.open(io.BytesIO(contents)).convert(peer_model.image_mode())
    batch = transform(image).unsqueeze(0)
    with torch.no_grad():
        outputs = model(batch)
    probabilities = torch.softmax(outputs[0], dim=0)
    confidence, index = probabilities.max(0)
    return {"prediction": peer_model.LABELS[int(index)], "confidence": confidence.item()}
