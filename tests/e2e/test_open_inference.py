"""The Open Inference Protocol with Triton's clients, against the service as a process."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from backend.api.compat import grpc_predict_v2_pb2 as pb
from backend.api.compat.grpc_methods import SERVICE
from benchmarks import open_inference
from tests.conftest import ROOT, free_port
from tests.e2e.backend_process import BackendProcess
from tests.images import encoded, seven

MODEL = "mnist-cnn"
SEVEN = encoded(seven())
KEY = "secret"
ENTRY = f"page={hashlib.sha256(KEY.encode()).hexdigest()};scopes=classify"


class Service:
    """A backend with gRPC, and its ports."""

    def __init__(self, process: BackendProcess, grpc_port: int) -> None:
        self.process = process
        self.address = f"127.0.0.1:{grpc_port}"
        self.http = triton.InferenceServerClient(f"127.0.0.1:{process.port}")


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service with settings from the parameter."""
    port = free_port()
    settings = {"PRISM_GRPC_PORT": str(port), "PRISM_DATA_DIR": str(tmp_path)}
    settings |= getattr(request, "param", {})
    with BackendProcess(None, **settings) as process:
        process.wait_until_ready()
        yield Service(process, port)


def image_input(*contents: bytes, is_binary: bool = True) -> triton.InferInput:
    image = triton.InferInput("image", [len(contents)], "BYTES")
    image.set_data_from_numpy(np.array(contents, np.object_), binary_data=is_binary)
    return image


def rows_input(rows: NDArray[Any], *, is_binary: bool) -> triton.InferInput:
    found = triton.InferInput("input", list(rows.shape), "FP32")
    found.set_data_from_numpy(rows, binary_data=is_binary)
    return found


def probabilities_of(service: Service) -> list[float]:
    """Return what /classify returns for the image of a seven."""
    url = f"{service.process.url}/classify?model={MODEL}"
    response = httpx.post(url, files={"file": SEVEN}, timeout=60, trust_env=False)
    found: list[float] = response.json()["probabilities"]
    return found


def run_grpc_client(service: Service, tmp_path: Path, *key: str) -> dict[str, Any]:
    path = tmp_path / "seven.png"
    path.write_bytes(SEVEN)
    command = [sys.executable, "-m", "tests.e2e.triton_grpc", service.address, str(path), *key]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_http_client_gets_the_probabilities_of_classify(service: Service) -> None:
    client = service.http
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "prism"
    assert client.get_model_metadata(MODEL)["inputs"][0]["shape"] == [-1, 1, 28, 28]
    assert MODEL in [each["name"] for each in client.get_model_repository_index()]
    with pytest.raises(InferenceServerException, match="PRISM_MODELS_DIR"):
        client.load_model(MODEL)

    expected = probabilities_of(service)
    answer = client.infer(MODEL, [image_input(SEVEN, SEVEN)], request_id="abc")
    assert answer.get_response()["id"] == "abc"
    for found in answer.as_numpy("probabilities"):
        assert np.abs(found - expected).max() < 1e-6
    assert answer.as_numpy("label").tolist() == [b"7", b"7"]
    top = triton.InferRequestedOutput("probabilities", class_count=2)
    answer = client.infer("auto", [image_input(SEVEN)], outputs=[top])
    assert answer.as_numpy("probabilities")[0, 0].endswith(b":7:7")

    rows = np.random.default_rng(0).normal(size=(256, 1, 28, 28)).astype(np.float32)
    json_output = triton.InferRequestedOutput("probabilities", binary_data=False)
    answers = [
        client.infer(MODEL, [rows_input(rows, is_binary=is_binary)], outputs=wanted)
        for is_binary in (True, False)
        for wanted in (None, [json_output])
    ]
    first, *others = (answer.as_numpy("probabilities") for answer in answers)
    assert first.shape == (256, 10)
    for other in others:
        assert np.abs(other - first).max() < 1e-6


def test_http_client_reports_errors(service: Service) -> None:
    client = service.http
    with pytest.raises(InferenceServerException, match="Available models") as caught:
        client.infer("none", [image_input(SEVEN)])
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match=r"image\[1\]: This is a text file"):
        client.infer(MODEL, [image_input(SEVEN, b"text")])
    wrong = triton.InferInput("input", [1, 28, 28], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 28, 28), np.float32))
    with pytest.raises(InferenceServerException, match=r"shape must be \[N, 1, 28, 28\]"):
        client.infer(MODEL, [wrong])
    with pytest.raises(InferenceServerException, match="uncompressed"):
        client.infer(MODEL, [image_input(SEVEN)], request_compression_algorithm="gzip")


@pytest.mark.parametrize("service", [{"PRISM_API_KEYS": ENTRY}], indirect=True)
def test_keys_are_those_of_the_service(service: Service, tmp_path: Path) -> None:
    assert service.http.is_server_ready()
    with pytest.raises(InferenceServerException, match="API key is required"):
        service.http.infer(MODEL, [image_input(SEVEN)])
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = service.http.infer(MODEL, [image_input(SEVEN)], headers=headers)
    found = run_grpc_client(service, tmp_path, KEY)
    assert np.abs(np.array(found["probabilities"]) - answer.as_numpy("probabilities")).max() < 1e-6


@pytest.mark.parametrize("service", [{"WEB_CONCURRENCY": "2"}], indirect=True)
def test_grpc_client_gets_the_probabilities_of_classify(service: Service, tmp_path: Path) -> None:
    found = run_grpc_client(service, tmp_path)
    assert found["live"]
    assert found["ready"]
    assert found["model_ready"]
    assert (found["server"], found["inputs"]) == ("prism", ["input", "image"])
    expected = probabilities_of(service)
    assert np.abs(np.array(found["probabilities"]) - expected).max() < 1e-6
    assert (found["id"], found["labels"], found["auto"]) == ("abc", ["7", "7"], MODEL)
    assert found["shape"] == [3, 10]
    assert found["top"][0].endswith(":7:7")
    assert found["unknown"][0] == "StatusCode.NOT_FOUND"
    assert found["broken"][0] == "StatusCode.INVALID_ARGUMENT"


def test_example_of_the_documentation_runs(service: Service) -> None:
    text = (ROOT / "docs" / "protocols.md").read_text()
    section = text.split("\n## Open Inference Protocol over gRPC\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    code = code.replace("localhost:8001", service.address)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[b'7'] [[")


def test_no_accepted_grpc_call_is_lost_at_shutdown(service: Service) -> None:
    rows = np.zeros((64, 1, 28, 28), np.float32)
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="input", datatype="FP32", shape=list(rows.shape)
    )
    message = pb.ModelInferRequest(
        model_name=MODEL, inputs=[tensor], raw_input_contents=[rows.tobytes()]
    ).SerializeToString()
    codes: list[grpc.StatusCode] = []
    done = threading.Event()

    def call_until_refused() -> None:
        with grpc.insecure_channel(service.address) as channel:
            send = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            while not done.is_set():
                try:
                    send(message, timeout=20)
                    codes.append(grpc.StatusCode.OK)
                except grpc.RpcError as failed:
                    code = cast(grpc.Call, failed).code()
                    if code != grpc.StatusCode.RESOURCE_EXHAUSTED:  # the machine is busy
                        codes.append(code)
                        return

    threads = [threading.Thread(target=call_until_refused) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(codes) < 8:
        time.sleep(0.01)
    service.process.process.send_signal(signal.SIGTERM)
    status = service.process.process.wait(15)
    done.set()
    for thread in threads:
        thread.join(20)
    # A call that was accepted gets its answer; a new one finds no server.
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert codes.count(grpc.StatusCode.UNAVAILABLE) <= len(threads)
    assert status == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_benchmark_reports_the_ratio_to_the_network_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    open_inference.main(["--rounds", "1", "--seconds", "0.2", "--rows", "16", "--clients", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["prism", "one session on all cores"]
    assert re.fullmatch(r"ratio to '.+', median of 1 rounds: \d+\.\d\d", lines[-2])
