"""What docs/models.md tells people to type, typed."""

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


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


def type_in(command: str, folder: Path) -> None:
    command = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_five_minutes_end_with_a_model_that_serves(tmp_path: Path) -> None:
    for name in ("backend", "calibration", "evaluation", "training"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models").mkdir()
    (python,) = blocks("python")
    assert "mobilenet_v2(num_classes=3)" in python
    # The same checkpoint, built without an import that fails where torchvision is for CUDA.
    network = networks.build("torchvision/mobilenet_v2", 3)
    torch.save(network.state_dict(), tmp_path / "pets.pth")
    package, start, calibrate, _ = blocks("bash")
    type_in(package, tmp_path)
    assert start.split() == ["PRISM_DEFAULT_MODEL=pets", "make", "run"]
    assert artifact.read(tmp_path / "models" / "pets").manifest.labels == ("cat", "dog", "rabbit")
    with serve(tmp_path / "models", default_model="pets") as client:
        answer = client.post("/classify", files={"file": encoded(noise(300, 200))}).json()
    assert answer["model"]["name"] == "pets"
    assert answer["prediction"] in {"cat", "dog", "rabbit"}
    assert answer["prediction_set"] is None
    for label in ("cat", "dog", "rabbit"):
        picture = tmp_path / "held-out" / label / "1.png"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(encoded(noise(300, 200)))
    type_in(calibrate, tmp_path)
    with serve(tmp_path / "models", default_model="pets") as client:
        answer = client.post("/classify", files={"file": encoded(noise(300, 200))}).json()
    assert sorted(answer["prediction_set"]) == ["cat", "dog", "rabbit"]  # three pictures say little


def test_the_json_of_the_preprocessing_is_one() -> None:
    json, _ = blocks("json")
    spec = TypeAdapter[Preprocess](Preprocess).validate_json(json)
    assert spec.input_shape == (224, 224, 3)


def test_the_json_of_the_calibration_is_one_and_its_fields_are_told() -> None:
    _, json = blocks("json")
    assert Calibration.model_validate_json(json).pictures == 5000
    section = TEXT.split("### Calibration")[1].split("\n## ")[0]
    for name in Calibration.model_fields:
        assert f"`{name}`" in section
