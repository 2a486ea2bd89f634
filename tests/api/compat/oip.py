"""Bodies of the Open Inference Protocol over HTTP."""

import struct
from typing import Any

import numpy as np
import orjson
from httpx2 import Response
from numpy.typing import NDArray
from starlette.testclient import TestClient

from backend.api.compat.inference_requests import BINARY_SIZE, HEADER_LENGTH

SHAPE = (1, 8, 8)  # of an input of a model with GRAY preprocessing


def gray_rows(*digits: int) -> NDArray[np.float32]:
    """Return the inputs of `gray` images, of shape (N, 1, 8, 8)."""
    levels = np.array([20 * digit / 255 for digit in digits], np.float32)
    return np.broadcast_to(levels[:, np.newaxis, np.newaxis, np.newaxis], (len(digits), *SHAPE))


def tensor(rows: NDArray[Any], datatype: str = "FP32", **fields: Any) -> dict[str, Any]:
    """Return an input with its data in JSON."""
    shape = list(rows.shape)
    return {"name": "input", "datatype": datatype, "shape": shape, "data": rows.tolist()} | fields


def length_prefixed(*items: bytes) -> bytes:
    """Return binary BYTES."""
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def binary_body(
    raw: bytes, shape: list[int], name: str = "input", datatype: str = "FP32", **fields: Any
) -> tuple[bytes, dict[str, str]]:
    """Return a body with one binary input, and its headers."""
    described: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    described["parameters"] = {BINARY_SIZE: len(raw)}
    header = orjson.dumps({"inputs": [described]} | fields)
    return header + raw, {HEADER_LENGTH: str(len(header))}


def infer(client: TestClient, model: str, *inputs: dict[str, Any], **fields: Any) -> Response:
    """Send a request in JSON."""
    return client.post(f"/v2/models/{model}/infer", json={"inputs": list(inputs)} | fields)


def outputs(response: Response) -> dict[str, Any]:
    """Return the data of each output by name, JSON or binary."""
    assert response.status_code == 200, response.text
    content = response.content
    length = int(response.headers.get(HEADER_LENGTH, len(content)))
    found, start = {}, length
    for each in orjson.loads(content[:length])["outputs"]:
        if "data" in each:
            data = each["data"]
        else:
            end = start + each["parameters"][BINARY_SIZE]
            data, start = content[start:end], end
            if each["datatype"] == "FP32":
                data = np.frombuffer(data, "<f4")
        if each["datatype"] == "FP32":
            data = np.reshape(data, each["shape"])
        found[each["name"]] = data
    assert start == len(content)
    return found
