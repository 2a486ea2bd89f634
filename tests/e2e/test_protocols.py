"""Clients of other model servers against a live backend, and the examples of docs/protocols.md."""

import base64
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.conftest import ROOT
from tests.e2e.backend_process import BackendProcess

EXAMPLES = ROOT / "frontend" / "examples"
SEVEN, CAT = EXAMPLES / "seven.png", EXAMPLES / "cat.jpg"
TEXT = (ROOT / "docs" / "protocols.md").read_text()

PREDICT = "/vertex/predict"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environ = {
        "PRISM_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "PRISM_TIMEOUT": "60",
        "AIP_HEALTH_ROUTE": "/vertex/health",
        "AIP_PREDICT_ROUTE": PREDICT,
    }
    with BackendProcess(None, **environ) as backend:
        backend.wait_until_ready()
        yield backend.url


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def post(url: str, **request: Any) -> Any:
    response = requests.post(url, timeout=60, **request)
    assert response.status_code == 200, response.text
    return response.json()


def probabilities(url: str, model: str, image: Path) -> Mapping[str, float]:
    """Return the probabilities by label, as /classify returns them."""
    query = {"model": model, "top_k": "10000"}
    top = post(f"{url}/classify", params=query, files={"file": image.read_bytes()})["top"]
    return {each["label"]: each["probability"] for each in top}


def by_vertex(url: str, model: str, image: Path) -> Mapping[str, float]:
    body = {"instances": [{"b64": b64(image)}], "parameters": {"maxPredictions": 10_000}}
    (prediction,) = post(f"{url}{PREDICT}?model={model}", json=body)["predictions"]
    return dict(zip(prediction["displayNames"], prediction["confidences"], strict=True))


def by_tensorflow_rows(url: str, model: str, image: Path) -> Mapping[str, float]:
    body = {"instances": [{"image_bytes": {"b64": b64(image)}}]}
    (row,) = post(f"{url}/v1/models/{model}:predict", json=body)["predictions"]
    labels = requests.get(f"{url}/models/{model}", timeout=60).json()["labels"]
    return dict(zip(labels, row, strict=True))


def by_tensorflow_labels(url: str, model: str, image: Path) -> Mapping[str, float]:
    body = {"examples": [{"image": {"b64": b64(image)}}]}
    (result,) = post(f"{url}/v1/models/{model}:classify", json=body)["results"]
    return dict(result)


def by_torchserve(url: str, model: str, image: Path) -> Mapping[str, float]:
    found: dict[str, float] = post(f"{url}/predictions/{model}", data=image.read_bytes())
    return found


def by_torchserve_form(url: str, model: str, image: Path) -> Mapping[str, float]:
    found: dict[str, float] = post(f"{url}/predictions/{model}", files={"data": image.read_bytes()})
    return found


def by_huggingface(url: str, model: str, image: Path) -> Mapping[str, float]:
    client = InferenceClient(token="unused")
    found = client.image_classification(str(image), model=f"{url}/huggingface/{model}")
    return {each.label: each.score for each in found}


def by_huggingface_json(url: str, model: str, image: Path) -> Mapping[str, float]:
    client = InferenceClient(token="unused")
    found = client.image_classification(
        image.read_bytes(), model=f"{url}/huggingface/{model}", top_k=1000
    )
    return {each.label: each.score for each in found}


def by_open_inference(url: str, model: str, image: Path) -> Mapping[str, float]:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64(image)]}
    found = post(f"{url}/v2/models/{model}/infer", json={"inputs": [tensor]})["outputs"]
    labels = requests.get(f"{url}/models/{model}", timeout=60).json()["labels"]
    (row,) = (each["data"] for each in found if each["name"] == "probabilities")
    return dict(zip(labels, row, strict=True))


ProtocolClient = Callable[[str, str, Path], Mapping[str, float]]
# Each returns probabilities by label, at least the most probable ones.
CLIENTS: list[ProtocolClient] = [
    by_vertex,
    by_tensorflow_rows,
    by_tensorflow_labels,
    by_torchserve,
    by_torchserve_form,
    by_huggingface,
    by_huggingface_json,
    by_open_inference,
]


@pytest.mark.parametrize("classify", CLIENTS, ids=lambda classify: classify.__name__)
@pytest.mark.parametrize("model", ["mnist-cnn", "photos"])
def test_same_image_has_the_same_probabilities_through_every_protocol(
    url: str, classify: ProtocolClient, model: str
) -> None:
    image = SEVEN if model == "mnist-cnn" else CAT
    expected = probabilities(url, model, image)
    found = classify(url, model, image)
    assert next(iter(expected)) == max(found, key=lambda label: found[label])
    assert len(found) >= 5
    for label, value in found.items():
        assert value == pytest.approx(expected[label], abs=1e-6)


def test_auto_answers_through_every_protocol(url: str) -> None:
    for image, best in ((SEVEN, "7"), (CAT, next(iter(probabilities(url, "photos", CAT))))):
        for classify in (by_vertex, by_tensorflow_labels, by_torchserve, by_huggingface):
            found = classify(url, "auto", image)
            assert max(found, key=lambda label: found[label]) == best


def test_client_of_huggingface_reports_the_message(url: str) -> None:
    client = InferenceClient(token="unused")
    with pytest.raises(HfHubHTTPError, match="not served"):
        client.image_classification(b"x", model=f"{url}/huggingface/cats")
    with pytest.raises(HfHubHTTPError) as caught:
        client.image_classification(b"no image", model=f"{url}/huggingface/photos")
    assert caught.value.response.status_code == 415


def test_request_of_the_vertex_sdk_is_answered_in_order(url: str) -> None:
    # As the REST transport of google-cloud-aiplatform 2.7 sends it.
    instances = [{"b64": b64(SEVEN)}, {"b64": b64(EXAMPLES / "three.png")}] * 20
    body = {"instances": instances, "parameters": {"maxPredictions": 1}}
    query = {"$alt": "json;enum-encoding=int"}
    predictions = post(f"{url}{PREDICT}", json=body, params=query)["predictions"]
    assert [each["displayNames"] for each in predictions] == [["7"], ["3"]] * 20
    assert requests.get(f"{url}/vertex/health", timeout=10).status_code == 200


def test_rows_of_tensors_are_the_input_of_the_model(url: str) -> None:
    rows = np.zeros((3, 1, 28, 28), np.float32)
    body = {"instances": rows.tolist()}
    found = post(f"{url}/v1/models/mnist-cnn:predict", json=body)["predictions"]
    assert np.shape(found) == (3, 10)


SECTIONS = [
    "Open Inference Protocol",
    "Vertex AI",
    "TensorFlow Serving",
    "TorchServe",
    "Hugging Face",
]


@pytest.mark.parametrize("section", SECTIONS)
def test_examples_run(url: str, section: str, tmp_path: Path) -> None:
    (tmp_path / "frontend").symlink_to(ROOT / "frontend")
    text = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```(bash|python)\n(.*?)```", text, re.S)
    assert blocks
    for language, block in blocks:
        code = block.replace("http://localhost:8000", url)
        if "-m backend" in code:
            continue  # the fixture starts it
        command = ["bash", "-c", code.replace("curl ", "curl -fsS ")]
        if language == "python":
            command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout
