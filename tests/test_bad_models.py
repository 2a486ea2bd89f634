"""Invalid model folders: one clear error each, while the other models are served."""

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
from tests.fake_models import LOCALHOST
from tests.images import encoded, seven

SHIPPED = ROOT / "models" / "mnist-cnn"


def edit_manifest(folder: Path, **fields: object) -> None:
    path = folder / artifact.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def update_checksums(folder: Path) -> None:
    """Write the checksums of the changed files into the manifest."""
    fields = json.loads((folder / artifact.MANIFEST).read_text())
    for name in fields["files"]:
        fields["files"][name] = artifact.sha256(folder / name)
    (folder / artifact.MANIFEST).write_text(json.dumps(fields))


def truncate_weights(folder: Path) -> None:
    path = folder / artifact.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])
    update_checksums(folder)


def truncate_graph(folder: Path) -> None:
    path = folder / artifact.ONNX
    path.write_bytes(path.read_bytes()[:1000])
    update_checksums(folder)


def append_to_graph(folder: Path) -> None:
    path = folder / artifact.ONNX
    path.write_bytes(path.read_bytes() + b" ")


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load((folder / artifact.WEIGHTS).read_bytes())
    change(tensors)
    save_file(tensors, folder / artifact.WEIGHTS)
    update_checksums(folder)


def add_nan(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors["classifier.2.bias"].fill_(np.nan))


def change_shape(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.update({min(tensors): torch.zeros(5, 5)}))


def pickle_weights(folder: Path) -> None:
    torch.save(load((folder / artifact.WEIGHTS).read_bytes()), folder / artifact.WEIGHTS)
    update_checksums(folder)


def remove_labels(folder: Path) -> None:
    edit_manifest(folder, labels=["a", "b"])


def set_unknown_architecture(folder: Path) -> None:
    edit_manifest(folder, architecture="resnet-9000")


def set_newer_format(folder: Path) -> None:
    edit_manifest(folder, format=99)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate_weights, "weights.safetensors is damaged"),
        (append_to_graph, "SHA-256"),
        (add_nan, "is not finite"),
        (change_shape, "but the manifest says"),
        (pickle_weights, "not a safetensors file"),
        (remove_labels, "10 outputs, but the manifest has 2 labels"),
        (set_unknown_architecture, "architecture"),
        (set_newer_format, "format 99"),
    ],
)
def test_invalid_folder_fails_with_reason_and_others_are_served(
    tmp_path: Path, runtime: str, damage: Callable[[Path], None], reason: str
) -> None:
    for name in ("good", "bad"):
        shutil.copytree(SHIPPED, tmp_path / name)
    damage(tmp_path / "bad")
    settings = Settings(models_dir=tmp_path, default_model="good", runtime=runtime, preload=True)
    with TestClient(create_app(settings), base_url=LOCALHOST) as client:
        image = {"file": encoded(seven())}
        assert client.post("/classify", files=image).json()["prediction"] == "7"
        assert client.get("/ready").status_code == 200
        while (bad := client.get("/models/bad").json())["state"] == "loading":
            pass
        assert bad["state"] == "failed"
        assert reason in bad["error"]
        assert bad["error"].startswith("bad: ")
        assert client.post("/classify?model=bad", files=image).json()["code"] == "not_ready"


def test_damaged_graph_is_named(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "bad")
    truncate_graph(tmp_path / "bad")
    with TestClient(
        create_app(Settings(models_dir=tmp_path, runtime="onnx")), base_url=LOCALHOST
    ) as client:
        while (bad := client.get("/models/bad").json())["state"] == "loading":
            pass
        assert "model.onnx is not a valid ONNX graph" in bad["error"]
        assert client.get("/ready").status_code == 503
