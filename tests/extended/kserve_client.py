"""Calls a server with KServe's clients, over HTTP and gRPC, and prints the responses as JSON.

Runs in an environment of its own, with the package `kserve` only:

    python kserve_client.py URL GRPC_ADDRESS FILE
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceGRPCClient

MODEL = "mnist-cnn"


async def main(url: str, address: str, content: bytes) -> dict[str, Any]:
    """Return what the clients return for an image file and for a tensor."""
    rest, grpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(address)
    rows = np.zeros((2, 1, 28, 28), np.float32)

    def request(name: str, values: Any, *, is_binary: bool) -> InferRequest:
        datatype = "FP32" if name == "input" else "BYTES"
        tensor = InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=is_binary)
        return InferRequest(model_name=MODEL, infer_inputs=[tensor])

    in_json = InferInput("image", [1], "BYTES", data=[base64.b64encode(content).decode()])
    requests = {
        "image in JSON": InferRequest(model_name=MODEL, infer_inputs=[in_json]),
        "binary image": request("image", np.array([content], np.object_), is_binary=True),
        "tensor in JSON": request("input", rows, is_binary=False),
        "binary tensor": request("input", rows, is_binary=True),
    }
    found: dict[str, Any] = {
        "live": await rest.is_server_live(url),
        "ready": await rest.is_server_ready(url),
        "model ready": await rest.is_model_ready(url, MODEL),
        "grpc ready": await grpc.is_server_ready() and await grpc.is_model_ready(MODEL),
    }
    for name, each in requests.items():
        answer = await rest.infer(url, each, model_name=MODEL)
        found[name] = answer.outputs[0].as_numpy().tolist()
        if "tensor" in name:
            answer = await grpc.infer(each)
            found[f"{name}, gRPC"] = answer.outputs[0].as_numpy().tolist()
    return found


if __name__ == "__main__":
    _, url, address, path = sys.argv
    print(json.dumps(asyncio.run(main(url, address, Path(path).read_bytes()))))
