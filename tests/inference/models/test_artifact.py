"""Model folders: reading, verification and writing."""

import json
from pathlib import Path
from typing import Any

import pytest

from backend.inference.errors import ArtifactError
from backend.inference.models import artifact
from tests.fake_models import CALIBRATION, DIGITS, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path)


def edit(folder: Path, **fields: Any) -> None:
    path = folder / artifact.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_written_folder_is_read_again(folder: Path) -> None:
    model = artifact.read(folder)
    assert model.manifest.labels == DIGITS
    assert model.onnx == folder / artifact.ONNX
    assert model.weights is None


def test_calibration_is_read_again_and_omitted_if_missing(tmp_path: Path) -> None:
    calibrated = artifact.read(write_model(tmp_path, "calibrated", calibration=CALIBRATION))
    assert calibrated.manifest.calibration is not None
    assert calibrated.manifest.calibration.temperature == 1.5
    plain = write_model(tmp_path, "plain")
    assert artifact.read(plain).manifest.calibration is None
    assert "calibration" not in json.loads((plain / artifact.MANIFEST).read_text())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"calibration": CALIBRATION | {"temperature": 0}}, "calibration.temperature"),
        ({"calibration": CALIBRATION | {"sets": []}}, "calibration: .*coverage 0.9"),
        ({"calibration": CALIBRATION, "output": "probabilities"}, "max_ood_score must be null"),
        ({"format": 2, "future": 1}, "format 2.*update Prism"),
        ({"labels": ["only one"]}, "labels"),
        ({"surprise": 1}, "surprise"),
        ({"architecture": "resnet-9000"}, "architecture"),
        ({"name": "../evil"}, "name"),
        ({"preprocess": {"kind": "digit", "std": 0}}, "std"),
        ({"files": {}}, "neither"),
        ({"files": {"../model.onnx": "0" * 64}}, "not a plain file"),
        ({"files": {"model.onnx": "0" * 64}}, "SHA-256 differs"),
        ({"files": {"weights.safetensors": "0" * 64}}, "weights.safetensors is missing"),
    ],
)
def test_invalid_manifest_raises_artifact_error_with_folder_and_reason(
    folder: Path, fields: dict[str, Any], reason: str
) -> None:
    edit(folder, **fields)
    with pytest.raises(ArtifactError, match=reason) as caught:
        artifact.read(folder)
    assert str(folder) in str(caught.value)


def test_label_ids_are_read_again_and_need_one_entry_for_each_label(folder: Path) -> None:
    manifest = artifact.read_manifest(folder)
    ids = tuple(f"n{index:08}" for index in range(len(manifest.labels)))
    artifact.write_manifest(folder, manifest.model_copy(update={"label_ids": ids}))
    assert artifact.read(folder).manifest.label_ids == ids
    text = (folder / artifact.MANIFEST).read_text().replace(f'"{ids[-2]}",', "")
    (folder / artifact.MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match="label_ids must have one entry"):
        artifact.read(folder)


def test_changed_file_raises_artifact_error(folder: Path) -> None:
    (folder / artifact.ONNX).write_bytes(b"another")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        artifact.read(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", "{" * 10_000])
def test_manifest_that_is_not_a_json_object_raises_artifact_error(folder: Path, text: str) -> None:
    (folder / artifact.MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        artifact.read(folder)


def test_folder_without_manifest_raises_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a model folder"):
        artifact.read(tmp_path)


@pytest.mark.parametrize("name", [artifact.MANIFEST, artifact.ONNX])
def test_link_out_of_the_folder_raises_artifact_error(folder: Path, name: str) -> None:
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    with pytest.raises(ArtifactError, match=f"{name} is a symbolic link"):
        artifact.read(folder)


def test_links_within_the_folder_are_followed(folder: Path, tmp_path: Path) -> None:
    """Kubernetes mounts files as links into a folder beside them."""
    (folder / artifact.CARD).write_text("a card")
    files = folder / "..data"
    files.mkdir()
    for name in (artifact.MANIFEST, artifact.ONNX, artifact.CARD):
        (folder / name).rename(files / name)
        (folder / name).symlink_to(Path("..data") / name)
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    artifact.read(linked)
    assert artifact.read_card(linked) == "a card"


def test_unusable_card_is_not_returned(folder: Path) -> None:
    card = folder / artifact.CARD
    assert artifact.read_card(folder) is None
    card.symlink_to(card)  # a loop
    assert artifact.read_card(folder) is None
    card.unlink()
    card.write_bytes(b"x" * 1_000_001)
    assert artifact.read_card(folder) is None
