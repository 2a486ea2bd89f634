"""Files of heads are checked before they are used."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, head
from backend.inference.models.head import read_head
from tests.fake_models import CALIBRATION, write_model
from tests.inference.heads import CENTERS, TENSORS, WEIGHT, write_backbone, write_head

DISTANCE: dict[str, Any] = {
    "calibration": CALIBRATION | {"ood_method": "feature_distance", "max_ood_score": 0.5}
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("models"))


def test_folder_is_read_with_its_backbone(tmp_path: Path, backbone: Path) -> None:
    model = artifact.read(write_head(tmp_path, backbone=backbone))
    assert model.manifest.files.keys() == {"head.safetensors", "README.md"}
    assert model.manifest.backbone is not None
    assert model.manifest.backbone.name == "photos"
    assert artifact.read_card(model.folder) == "# Colors"
    found = read_head(model)
    np.testing.assert_array_equal(found.weight, WEIGHT)
    assert (found.dimensions, found.centers) == (3, None)


def test_backbone_is_identified_by_its_weights_or_else_its_graph(tmp_path: Path) -> None:
    model = artifact.read(write_model(tmp_path))
    assert model.network_sha256 == model.manifest.files["model.onnx"]


def test_centers_are_kept_only_for_the_feature_distance(tmp_path: Path, backbone: Path) -> None:
    tensors = TENSORS | CENTERS
    kept = write_head(tmp_path, "kept", backbone=backbone, tensors=tensors, **DISTANCE)
    assert read_head(artifact.read(kept)).centers is not None
    unused = write_head(tmp_path, "unused", backbone=backbone, tensors=tensors)
    assert read_head(artifact.read(unused)).centers is None


def test_number_of_centers_is_not_that_of_labels(tmp_path: Path, backbone: Path) -> None:
    centers = np.eye(3, dtype=np.float32)
    tensors = TENSORS | {"centers": centers, "origin": WEIGHT[0]}
    found = read_head(
        artifact.read(write_head(tmp_path, backbone=backbone, tensors=tensors, **DISTANCE))
    )
    assert found.centers is not None
    assert found.centers.shape == (3, 3)
    np.testing.assert_array_equal(found.origin, WEIGHT[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weight": WEIGHT.astype(np.float64)}, "weight is float64"),
        ({"weight": WEIGHT[:1]}, r"shape \(1, 3\)"),
        ({"weight": WEIGHT[0]}, r"shape \(3,\)"),
        ({"bias": np.zeros(3, dtype=np.float32)}, r"bias is float32 of shape \(3,\)"),
        ({"weight": np.full_like(WEIGHT, np.nan)}, "weight contains a value that is not finite"),
        ({"bias": np.full(2, np.inf, dtype=np.float32)}, "bias contains a value"),
        ({"weight": WEIGHT * 1e6}, "above 1,000,000"),
        ({"centers": WEIGHT[:, :2]}, "centers is float32 of shape"),
        ({"centers": WEIGHT[:0]}, r"centers is float32 of shape \(0, 3\)"),
        ({"centers": WEIGHT[0]}, r"centers is float32 of shape \(3,\)"),
        ({**CENTERS, "origin": WEIGHT[0, :2]}, "origin is float32 of shape"),
        ({"centers": WEIGHT}, "L2 norm of 1"),
        ({"code": WEIGHT}, "and no others"),
        ({}, "requires centers"),
    ],
)
def test_invalid_tensors_are_refused(
    tmp_path: Path, backbone: Path, change: dict[str, Any], reason: str
) -> None:
    tensors = TENSORS | change
    model = artifact.read(write_head(tmp_path, backbone=backbone, tensors=tensors, **DISTANCE))
    with pytest.raises(ArtifactError, match=reason) as error:
        read_head(model)
    assert str(error.value).startswith(f"{model.folder}: ")


def test_missing_tensor_is_refused(tmp_path: Path, backbone: Path) -> None:
    folder = write_head(tmp_path, backbone=backbone, tensors={"weight": WEIGHT})
    with pytest.raises(ArtifactError, match="must contain weight and bias"):
        read_head(artifact.read(folder))


def rewrite(folder: Path, content: bytes) -> artifact.Artifact:
    (folder / artifact.HEAD).write_bytes(content)
    return artifact.write_manifest(folder, artifact.read_manifest(folder))


def test_other_files_are_refused(tmp_path: Path, backbone: Path) -> None:
    folder = write_head(tmp_path, backbone=backbone)
    for content in (b"", b"\x80\x04K\x01.", b"\xff" * 64):
        with pytest.raises(ArtifactError, match="not a safetensors file"):
            read_head(rewrite(folder, content))


def test_large_file_is_not_read(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "MAX_HEAD_BYTES", 100)
    save_file(TENSORS, tmp_path / "large")
    folder = write_head(tmp_path, backbone=backbone)
    with pytest.raises(ArtifactError, match="bytes, more than 100"):
        read_head(rewrite(folder, (tmp_path / "large").read_bytes()))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"backbone": None}, "backbone is required"),
        ({"architecture": "onnx"}, "backbone is required"),
        ({"output": "probabilities"}, "output must be logits"),
        ({"backbone": {"name": "photos", "sha256": "abc"}}, "backbone.sha256"),
        ({"backbone": {"name": "../photos", "sha256": "0" * 64}}, "backbone.name"),
    ],
)
def test_invalid_manifests_are_refused(
    tmp_path: Path, backbone: Path, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        artifact.Manifest.model_validate(
            artifact.read(write_head(tmp_path, backbone=backbone)).manifest.model_dump() | fields
        )


def test_feature_distance_requires_a_head(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="feature_distance requires a linear-head"):
        write_model(tmp_path, **DISTANCE)


def test_manifest_must_list_the_head(tmp_path: Path, backbone: Path) -> None:
    folder = write_head(tmp_path, backbone=backbone)
    (folder / artifact.HEAD).unlink()
    with pytest.raises(ArtifactError, match=r"does not list head\.safetensors"):
        artifact.write_manifest(folder, artifact.read_manifest(folder))
