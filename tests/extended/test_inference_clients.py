"""Clients of the Open Inference Protocol that need environments of their own: kserve, mlserver."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import ROOT, free_port
from tests.e2e.backend_process import BackendProcess
from tests.extended import environments
from tests.images import encoded, seven

MODEL = "mnist-cnn"
SEVEN = encoded(seven())

Install = Callable[[str], Path]


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Return a function that installs a package and returns the folder of its programs."""

    def create(package: str) -> Path:
        return environments.create(tmp_path_factory.mktemp(package), package).parent

    return create


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BackendProcess, int]]:
    port, folder = free_port(), tmp_path_factory.mktemp("data")
    settings = {"PRISM_GRPC_PORT": str(port), "PRISM_DATA_DIR": str(folder), "PRISM_TIMEOUT": "60"}
    with BackendProcess(None, **settings) as process:
        process.wait_until_ready()
        yield process, port


def run(command: list[Any]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def probabilities(url: str) -> list[float]:
    """Return what /classify returns for the image."""
    response = httpx.post(f"{url}/classify?model={MODEL}", files={"file": SEVEN}, timeout=60)
    found: list[float] = response.json()["probabilities"]
    return found


def test_kserve_gets_the_probabilities_of_classify(
    install: Install, backend: tuple[BackendProcess, int], tmp_path: Path
) -> None:
    process, port = backend
    image = tmp_path / "seven.png"
    image.write_bytes(SEVEN)
    script = ROOT / "tests" / "extended" / "kserve_client.py"
    python = install("kserve") / "python"
    printed = run([python, script, process.url, f"127.0.0.1:{port}", image])
    found = json.loads(printed.splitlines()[-1])
    assert all(found.pop(name) for name in ("live", "ready", "model ready", "grpc ready"))
    expected = probabilities(process.url)
    for name in ("image in JSON", "binary image"):
        assert np.abs(np.array(found.pop(name)) - expected).max() < 1e-6, name
    tensors = np.array(list(found.values()))
    assert tensors.shape == (4, 2, 10)
    assert np.abs(tensors - tensors[0]).max() < 1e-6


@pytest.mark.parametrize("option", ["--verbose", "--binary-data"])
def test_mlserver_infer_gets_the_probabilities_of_classify(
    install: Install, backend: tuple[BackendProcess, int], tmp_path: Path, option: str
) -> None:
    process, _ = backend
    image = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1, 1],
        "data": [base64.b64encode(SEVEN).decode()],
    }
    rows = {"name": "input", "datatype": "FP32", "shape": [2, 1, 28, 28], "data": [0.0] * 1568}
    requests, responses = tmp_path / "requests.jsonl", tmp_path / "responses.jsonl"
    lines = [json.dumps({"inputs": [each]}) for each in (image, rows)]
    requests.write_text("\n".join(lines) + "\n")
    url = process.url.removeprefix("http://")
    command = [install("mlserver") / "mlserver", "infer", "--url", url, "--model-name", MODEL,
               "--input-data-path", requests, "--output-data-path", responses, option]  # fmt: skip
    run(command)
    answers = [json.loads(line) for line in responses.read_text().splitlines()]
    outputs = {
        tuple(output["shape"]): output["data"]
        for answer in answers
        for output in answer["outputs"]
        if output["name"] == "probabilities"
    }
    assert np.abs(np.array(outputs[1, 10]) - probabilities(process.url)).max() < 1e-6
    assert len(outputs[2, 10]) == 20
