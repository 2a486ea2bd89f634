"""The cost of HTTP alone: the upload is not read and the response is constant.

python -m uvicorn benchmarks.serving.peers.noop:app --port 8000
"""

from typing import Annotated

from fastapi import FastAPI, File, UploadFile

app = FastAPI()


@app.post("/predict")
async def predict(file: Annotated[UploadFile, File()]) -> dict[str, object]:
    """Return the same response for every upload."""
    return {"prediction": "7", "confidence": 1.0}
