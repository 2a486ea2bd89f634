"""Calls a server with Triton's gRPC client, and prints the responses as JSON.

A program of its own: the client's messages have the names of those of the service, and one process
cannot have both.

    python -m tests.e2e.triton_grpc ADDRESS FILE [KEY]
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

MODEL = "mnist-cnn"


def main(address: str, path: str, key: str = "") -> dict[str, Any]:
    """Return what the client returns for an image file, and for wrong calls."""
    headers = {"authorization": f"Bearer {key}"} if key else None
    client = triton.InferenceServerClient(address)
    content = Path(path).read_bytes()
    image = triton.InferInput("image", [2], "BYTES")
    image.set_data_from_numpy(np.array([content, content], np.object_))
    rows = triton.InferInput("input", [3, 1, 28, 28], "FP32")
    rows.set_data_from_numpy(np.zeros((3, 1, 28, 28), np.float32))
    top = [triton.InferRequestedOutput("probabilities", class_count=2)]
    broken = triton.InferInput("image", [1], "BYTES")
    broken.set_data_from_numpy(np.array([b"text"], np.object_))

    def infer(each: triton.InferInput, model: str = MODEL, **options: Any) -> Any:
        return client.infer(model, [each], headers=headers, client_timeout=60, **options)

    def error(*args: Any) -> list[str]:
        try:
            infer(*args)
        except InferenceServerException as failed:
            return [str(failed.status()), str(failed.message())]
        raise AssertionError("the call does not fail")

    answer = infer(image, request_id="abc")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL, headers=headers),
        "server": client.get_server_metadata(headers=headers).name,
        "inputs": [each.name for each in client.get_model_metadata(MODEL, headers=headers).inputs],
        "id": answer.get_response().id,
        "probabilities": answer.as_numpy("probabilities").tolist(),
        "labels": [each.decode() for each in answer.as_numpy("label")],
        "shape": list(infer(rows).as_numpy("probabilities").shape),
        "top": [each.decode() for each in infer(image, outputs=top).as_numpy("probabilities")[0]],
        "auto": infer(image, "auto").get_response().model_name,
        "unknown": error(image, "none"),
        "broken": error(broken),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
