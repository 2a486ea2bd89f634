"""What HTTP alone costs: an upload that nobody looks at, and a constant answer.

python -m uvicorn benchmarks.serving.peers.noop:app --port 8000
"""

from typing import Annotated

from fastapi import FastAPI, File, UploadFile

app = FastAPI()


@app.post("/predict")
async def predict(file: Annotated[UploadFile, File()]) -> dict[str, object]:
    """Answer the same whatever was sent."""
    return {"prediction": "7", "confidence": 1.0}
