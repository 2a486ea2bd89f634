"""A backend as tutorials write it: everything inside the async route.

BENCH_MODEL=FOLDER python -m uvicorn benchmarks.serving.peers.tutorial:app --port 8000
"""

import io
from typing import Annotated

import torch
from fastapi import FastAPI, File, UploadFile
from PIL import Image

from benchmarks.serving.peers import model as given

app = FastAPI()
model = given.network()
transform = given.transform()


@app.post("/predict")
async def predict(file: Annotated[UploadFile, File()]) -> dict[str, object]:
    """Classify one picture; the event loop stands still meanwhile."""
    contents = await file.read()
    image = Image.open(io.BytesIO(contents)).convert(given.image_mode())
    batch = transform(image).unsqueeze(0)
    with torch.no_grad():
        outputs = model(batch)
    probabilities = torch.softmax(outputs[0], dim=0)
    confidence, index = probabilities.max(0)
    return {"prediction": given.LABELS[int(index)], "confidence": confidence.item()}
