"""Open Inference Protocol over gRPC, with a server in the test process."""

import gc
import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from starlette.testclient import TestClient

from backend.api.compat import grpc_predict_v2_pb2 as pb
from backend.api.compat.grpc_messages import MAX_VALUES
from backend.api.compat.grpc_methods import HEALTH_SERVICE, SERVICE
from tests.api.compat.oip import gray_rows, length_prefixed
from tests.conftest import free_port
from tests.fake_models import GRAY, GrayRuntime, gray, serve, wait_until_ready, write_model

Tensor = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor
WAIT = 30  # s
KEY = f"page={hashlib.sha256(b'secret').hexdigest()};scopes=classify;requests=2"


class GrpcClient:
    """Calls of a server on a port of this machine."""

    def __init__(self, port: int, http: TestClient, runtime: GrayRuntime) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.http = http
        self.runtime = runtime

    def call(
        self, method: str, request: Any, response: Any, service: str = SERVICE, **options: Any
    ) -> Any:
        """Send a message, or bytes, and return the response."""
        send = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda each: (
                each if isinstance(each, bytes) else each.SerializeToString()
            ),
            response_deserializer=response.FromString,
        )
        return send(request, **{"timeout": 20} | options)

    def infer(self, *inputs: Any, raw: tuple[bytes, ...] = (), **fields: Any) -> Any:
        """Classify with the model `gray`."""
        options = {
            name: fields.pop(name)
            for name in ("metadata", "timeout", "compression")
            if name in fields
        }
        values = {"model_name": "gray", "inputs": inputs, "raw_input_contents": raw} | fields
        request = pb.ModelInferRequest(**values)
        return self.call("ModelInfer", request, pb.ModelInferResponse, **options)


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[GrpcClient]:
    """A client of a model that classifies `gray` images; the parameter holds settings."""
    write_model(tmp_path / "models", "gray", version="3", preprocess=GRAY)
    runtime, port = GrayRuntime(), free_port()
    settings = {"max_bytes": 100_000, "grpc_port": port} | getattr(request, "param", {})
    with serve(tmp_path / "models", runtime, **settings) as http:
        wait_until_ready(http)
        client = GrpcClient(port, http, runtime)
        try:
            yield client
        finally:
            runtime.release()
            client.channel.close()
    gc.collect()  # objects of gRPC's event loop, before the next test's


def rows(*digits: int, **fields: Any) -> Any:
    values = {"name": "input", "datatype": "FP32", "shape": [len(digits), 1, 8, 8]}
    return Tensor(**values | fields)


def images(*contents: bytes, **fields: Any) -> Any:
    values = {"name": "image", "datatype": "BYTES", "shape": [len(contents)]}
    return Tensor(**values | fields)


def error(call: Any, *args: Any, **fields: Any) -> tuple[grpc.StatusCode, str]:
    """Return the status and the text of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **fields)
    failed: Any = caught.value
    return failed.code(), failed.details()


def test_calls_are_answered(served: GrpcClient) -> None:
    assert served.call("ServerLive", b"", pb.ServerLiveResponse).live
    assert served.call("ServerReady", b"", pb.ServerReadyResponse).ready
    assert served.call("ServerMetadata", b"", pb.ServerMetadataResponse).name == "prism"
    request = pb.ModelMetadataRequest(name="gray", version="3")
    metadata = served.call("ModelMetadata", request, pb.ModelMetadataResponse)
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [
        ("input", [-1, 1, 8, 8]),
        ("image", [-1]),
    ]
    for name, is_ready in (("gray", True), ("none", False)):
        found = served.call("ModelReady", pb.ModelReadyRequest(name=name), pb.ModelReadyResponse)
        assert found.ready is is_ready
    for service in ("", SERVICE):
        check = health_pb2.HealthCheckRequest(service=service)
        found = served.call("Check", check, health_pb2.HealthCheckResponse, HEALTH_SERVICE)
        assert found.status == health_pb2.HealthCheckResponse.SERVING


def test_tensors_and_images_are_classified_as_over_http(served: GrpcClient) -> None:
    expected = served.http.post("/classify", files={"file": gray(4)}).json()["probabilities"]
    contents, values = [gray(4), gray(7)], gray_rows(4, 7)
    answers = [
        served.infer(rows(4, 7), raw=(values.tobytes(),), id="abc"),
        served.infer(rows(4, 7, contents={"fp32_contents": values.ravel().tolist()}), id="abc"),
        served.infer(images(*contents), raw=(length_prefixed(*contents),), id="abc"),
        served.infer(images(*contents, contents={"bytes_contents": contents}), id="abc"),
    ]
    for answer in answers:
        assert (answer.model_name, answer.model_version, answer.id) == ("gray", "3", "abc")
        assert [each.name for each in answer.outputs] == ["probabilities", "label"]
        probabilities = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(2, 10)
        assert np.abs(probabilities[0] - expected).max() < 1e-6
        assert answer.raw_output_contents[1] == length_prefixed(b"4", b"7")
    output = Output(
        name="probabilities", parameters={"classification": pb.InferParameter(int64_param=1)}
    )
    answer = served.infer(rows(4), raw=(gray_rows(4).tobytes(),), outputs=[output])
    assert answer.raw_output_contents[0][4:].endswith(b":4:4")

    unknown = error(served.infer, images(gray(1)), raw=(b"",), model_name="none")
    assert unknown[0] == grpc.StatusCode.NOT_FOUND
    raw = gray_rows(1).tobytes()
    hostile: list[tuple[Any, dict[str, Any]]] = [
        (rows(1), {}),
        (rows(1), {"raw": (raw, raw)}),
        (rows(1), {"raw": (raw[:-1],)}),
        (rows(1), {"raw": (raw + b"x",)}),
        (rows(1, contents={"fp32_contents": [0]}), {"raw": (raw,)}),
        (rows(1, contents={"fp32_contents": [0]}), {}),
        (rows(1, contents={"fp32_contents": [np.nan] * 64}), {}),
        (rows(1, shape=[10**9, 1, 8, 8]), {"raw": (raw,)}),
        (rows(1, shape=[-1, 1, 8, 8]), {"raw": (raw,)}),
        (rows(1, shape=[2**62, 2**62, 2**62, 8]), {"raw": (raw,)}),
        (rows(1, shape=[1] * 1_000), {"raw": (raw,)}),
        (rows(1, datatype="FP16"), {}),
        (rows(1, datatype="INT8"), {"raw": (raw,)}),
        (rows(1), {"raw": (raw,), "model_name": ""}),
        (rows(1), {"raw": (raw,), "model_name": "gray/versions/3"}),
        (rows(1), {"raw": (raw,), "outputs": [Output(name="label")] * 17}),
        (images(gray(1)), {"raw": (gray(1),)}),
        (images(b"text"), {"raw": (length_prefixed(b"text"),)}),
    ]
    for tensor, fields in hostile:
        code, text = error(served.infer, tensor, **fields)
        assert code == grpc.StatusCode.INVALID_ARGUMENT, (tensor, text)
        assert text.endswith((".", ".]"))
    in_contents = Tensor(contents={"bytes_contents": [b""] * 40_000})
    for message in (
        b"\x2a\x00" * 40_000,  # empty inputs
        pb.ModelInferRequest(model_name="gray", inputs=[in_contents]).SerializeToString(),
        pb.ModelInferRequest(model_name="x" * 50_000).SerializeToString(),
    ):
        code, _ = error(served.call, "ModelInfer", message, pb.ModelInferResponse)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    many = rows(1, contents={"fp32_contents": [0] * (MAX_VALUES + 1)})
    no_message = error(served.call, "ModelInfer", b"\xff" * 10, pb.ModelInferResponse)
    assert no_message[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert "not a valid ModelInferRequest" in no_message[1]
    too_large = error(served.infer, many)
    assert too_large[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    compressed = error(served.infer, rows(1), raw=(raw,), compression=grpc.Compression.Gzip)
    assert compressed[0] == grpc.StatusCode.UNIMPLEMENTED
    large = error(served.infer, images(bytes(200_000)), raw=(bytes(200_000),))
    assert large[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("count", [0, 2])
def test_call_has_one_message(served: GrpcClient, count: int) -> None:
    send = served.channel.stream_unary(f"/{SERVICE}/ModelInfer")
    code, text = error(send, iter([b""] * count), timeout=20)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "message" in text


def test_deadline_of_the_call_is_that_of_the_request(served: GrpcClient) -> None:
    served.runtime.hold()
    code, _ = error(served.infer, rows(1), raw=(gray_rows(1).tobytes(),), timeout=0.3)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    served.runtime.release()
    assert served.infer(rows(1), raw=(gray_rows(1).tobytes(),)).model_name == "gray"


@pytest.mark.parametrize("served", [{"api_keys": KEY}], indirect=True)
def test_keys_scopes_and_quotas_are_those_of_http(served: GrpcClient) -> None:
    assert served.call("ServerLive", b"", pb.ServerLiveResponse).live
    body = {"raw": (gray_rows(1).tobytes(),)}
    assert error(served.infer, rows(1), **body)[0] == grpc.StatusCode.UNAUTHENTICATED
    wrong = (("x-api-key", "wrong"),)
    code, text = error(served.infer, rows(1), **body, metadata=wrong)
    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert "API key is not valid" in text
    for metadata in ((("x-api-key", "secret"),), (("authorization", "Bearer secret"),)):
        assert served.infer(rows(1), **body, metadata=metadata).model_name == "gray"
    code, text = error(served.infer, rows(1), **body, metadata=metadata)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "per minute" in text


def test_accepted_call_finishes_while_the_service_drains(served: GrpcClient) -> None:
    served.runtime.hold()
    answers: list[Any] = []
    body = {"raw": (gray_rows(1).tobytes(),)}
    thread = threading.Thread(target=lambda: answers.append(served.infer(rows(1), **body)))
    thread.start()
    end = time.monotonic() + WAIT
    while not served.runtime.batches:
        assert time.monotonic() < end
        time.sleep(0.01)
    served.http.app.state.drain_state.start()  # type: ignore[attr-defined]
    while True:  # the server takes a moment to notice
        code, _ = error(served.infer, rows(1), **body, timeout=1)
        if code == grpc.StatusCode.UNAVAILABLE:
            break
        assert time.monotonic() < end
    served.runtime.release()
    thread.join(10)
    assert answers[0].model_name == "gray"
