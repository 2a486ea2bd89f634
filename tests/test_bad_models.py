"""A bad model folder is one clear error; the other models are served all the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file
from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference.models import artifact
from backend.settings import Settings
from tests.conftest import ROOT
from tests.images import encoded, seven

SHIPPED = ROOT / "models" / "mnist-cnn"


def manifest(folder: Path, **fields: object) -> None:
    path = folder / artifact.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def reseal(folder: Path) -> None:
    """Write the checksums of the files as they are now, as somebody who means well would."""
    fields = json.loads((folder / artifact.MANIFEST).read_text())
    for name in fields["files"]:
        fields["files"][name] = artifact._sha256(folder / name)
    (folder / artifact.MANIFEST).write_text(json.dumps(fields))


def truncated(folder: Path) -> None:
    path = folder / artifact.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])
    reseal(folder)


def truncated_graph(folder: Path) -> None:
    path = folder / artifact.ONNX
    path.write_bytes(path.read_bytes()[:1000])
    reseal(folder)


def changed(folder: Path) -> None:
    path = folder / artifact.ONNX
    path.write_bytes(path.read_bytes() + b" ")


def edited(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load((folder / artifact.WEIGHTS).read_bytes())
    change(tensors)
    save_file(tensors, folder / artifact.WEIGHTS)
    reseal(folder)


def not_finite(folder: Path) -> None:
    edited(folder, lambda tensors: tensors["classifier.2.bias"].fill_(np.nan))


def other_shapes(folder: Path) -> None:
    edited(folder, lambda tensors: tensors.update({min(tensors): torch.zeros(5, 5)}))


def pickled(folder: Path) -> None:
    torch.save(load((folder / artifact.WEIGHTS).read_bytes()), folder / artifact.WEIGHTS)
    reseal(folder)


def too_few_labels(folder: Path) -> None:
    manifest(folder, labels=["a", "b"])


def unknown(folder: Path) -> None:
    manifest(folder, architecture="resnet-9000")


def newer(folder: Path) -> None:
    manifest(folder, format=99)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "weights.safetensors is damaged"),
        (changed, "SHA-256"),
        (not_finite, "is not finite"),
        (other_shapes, "other shapes"),
        (pickled, "not a safetensors file"),
        (too_few_labels, "10 outputs, but the manifest has 2 labels"),
        (unknown, "architecture"),
        (newer, "format 99"),
    ],
)
def test_a_bad_folder_names_itself_and_the_reason_and_hurts_no_other(
    tmp_path: Path, runtime: str, damage: Callable[[Path], None], reason: str
) -> None:
    for name in ("good", "bad"):
        shutil.copytree(SHIPPED, tmp_path / name)
    damage(tmp_path / "bad")
    settings = Settings(models_dir=tmp_path, default_model="good", runtime=runtime)
    with TestClient(create_app(settings)) as client:
        picture = {"file": encoded(seven())}
        assert client.post("/classify", files=picture).json()["prediction"] == "7"
        assert client.get("/ready").status_code == 200
        while (bad := client.get("/models/bad").json())["state"] == "loading":
            pass
        assert bad["state"] == "failed"
        assert reason in bad["error"]
        assert bad["error"].startswith("bad: ")
        assert client.post("/classify?model=bad", files=picture).json()["code"] == "not_ready"


def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "bad")
    truncated_graph(tmp_path / "bad")
    with TestClient(create_app(Settings(models_dir=tmp_path, runtime="onnx"))) as client:
        while (bad := client.get("/models/bad").json())["state"] == "loading":
            pass
        assert "model.onnx is not a valid ONNX graph" in bad["error"]
        assert client.get("/ready").status_code == 503
