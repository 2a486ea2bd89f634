"""The commands and the examples of docs/models.md are valid."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from pydantic import TypeAdapter

from backend.inference.models import artifact, networks
from backend.inference.preprocessing.model_input import Preprocess
from calibration.apply import Calibration
from tests.conftest import ROOT
from tests.fake_models import serve
from tests.images import encoded, noise

TEXT = (ROOT / "docs" / "models.md").read_text()


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


def code_block(language: str, part: str) -> str:
    """Return the one example that contains `part`."""
    (found,) = [block for block in code_blocks(language) if part in block]
    return found


def run(command: str, folder: Path) -> None:
    command = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_quickstart_packages_serves_and_calibrates_a_model(tmp_path: Path) -> None:
    for name in ("backend", "calibration", "evaluation", "training"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models").mkdir()
    assert code_block("python", "torch.save(mobilenet_v2(num_classes=3).state_dict()")
    # The same checkpoint, without importing torchvision, which fails if it is built for CUDA.
    network = networks.build("torchvision/mobilenet_v2", 3)
    torch.save(network.state_dict(), tmp_path / "pets.pth")
    _, package, start, calibrate, *_ = code_blocks("bash")
    run(package, tmp_path)
    assert start.split() == ["PRISM_DEFAULT_MODEL=pets", "make", "run"]
    assert artifact.read(tmp_path / "models" / "pets").manifest.labels == ("cat", "dog", "rabbit")
    with serve(tmp_path / "models", default_model="pets") as client:
        classification = client.post("/classify", files={"file": encoded(noise(300, 200))}).json()
    assert classification["model"]["name"] == "pets"
    assert classification["prediction"] in {"cat", "dog", "rabbit"}
    assert classification["prediction_set"] is None
    for label in ("cat", "dog", "rabbit"):
        image = tmp_path / "held-out" / label / "1.png"
        image.parent.mkdir(parents=True)
        image.write_bytes(encoded(noise(300, 200)))
    run(calibrate, tmp_path)
    with serve(tmp_path / "models", default_model="pets") as client:
        classification = client.post("/classify", files={"file": encoded(noise(300, 200))}).json()
    assert sorted(classification["prediction_set"]) == [
        "cat",
        "dog",
        "rabbit",
    ]  # three images are too few for smaller sets


def test_preprocessing_example_is_valid() -> None:
    json = code_block("json", '"kind": "image"')
    spec = TypeAdapter[Preprocess](Preprocess).validate_json(json)
    assert spec.input_shape == (224, 224, 3)


def test_calibration_example_is_valid_and_documents_all_fields() -> None:
    json, by_label = code_block("json", '"temperature"'), code_block("json", '"thresholds"')
    assert Calibration.model_validate_json(json).pictures == 5000
    assert Calibration.model_validate_json(by_label).thresholds == (0.35, 0.52)
    section = TEXT.split("### Calibration")[1].split("\n## ")[0]
    for name in Calibration.model_fields:
        assert f"`{name}`" in section
