"""A packaged model is calibrated with held-out images; failures end with one line."""

import io
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.inference.models import artifact, networks
from tests.conftest import ROOT
from training.data import synthetic_handwriting
from training.package.__main__ import main

IMAGES_PER_DIGIT = 24


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labeled images in class folders, one of them damaged."""
    folder = tmp_path_factory.mktemp("held-out")
    rng = np.random.default_rng(0)
    for digit in range(10):
        (folder / str(digit)).mkdir()
        for number in range(IMAGES_PER_DIGIT):
            synthetic_handwriting.draw_digit(digit, rng).save(folder / str(digit) / f"{number}.png")
    (folder / "3" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for digits with random weights."""
    folder = tmp_path_factory.mktemp("graph")
    torch.manual_seed(0)
    torch.save(networks.build("mnist-mlp").state_dict(), folder / "mlp.pt")
    main(["mlp", str(folder / "mlp.pt"), "--architecture", "mnist-mlp", "--out", str(folder)])
    return folder / "mlp" / "model.onnx"


@pytest.fixture(scope="module")
def calibrated(
    graph: Path, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A calibrated model folder, and the report of the command."""
    out = tmp_path_factory.mktemp("models")
    with redirect_stdout(io.StringIO()) as report:
        package(graph, images, out)
    return out / "own", report.getvalue()


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """An image with a label that the model lacks."""
    (tmp_path / "zoo" / "cat").mkdir(parents=True)
    image = synthetic_handwriting.draw_digit(1, np.random.default_rng(0))
    image.save(tmp_path / "zoo" / "cat" / "1.png")
    return tmp_path / "zoo"


def package(graph: Path, calibrate: Path, out: Path) -> None:
    main(["own", "--onnx", str(graph), "--calibrate", str(calibrate), "--out", str(out)])


def test_calibration_is_written_to_manifest_and_reported(calibrated: tuple[Path, str]) -> None:
    folder, report = calibrated
    assert f"calibrated on {10 * IMAGES_PER_DIGIT} images" in report
    assert "images that could not be read: 1" in report
    assert "are marked as out of distribution" in report
    calibration = artifact.read(folder).manifest.calibration
    assert calibration is not None
    assert calibration.pictures == 10 * IMAGES_PER_DIGIT
    assert calibration.max_ood_score is not None
    # With random weights, a coverage of 95% requires nearly all labels.
    assert calibration.mean_set_size["0.95"] > 8


def test_model_without_calibration_images_has_no_calibration(graph: Path, tmp_path: Path) -> None:
    main(["own", "--onnx", str(graph), "--out", str(tmp_path)])
    assert artifact.read(tmp_path / "own").manifest.calibration is None


def test_unknown_labels_are_listed(graph: Path, cats: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="'cat': not among the 10 labels"):
        package(graph, cats, tmp_path)


def test_folder_without_readable_images_is_rejected(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "junk" / "3").mkdir(parents=True)
    (tmp_path / "junk" / "3" / "1.png").write_bytes(b"no image")
    with pytest.raises(SystemExit, match="no image can be read"):
        package(graph, tmp_path / "junk", tmp_path)


def test_missing_calibration_folder_is_rejected(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="missing does not exist"):
        package(graph, tmp_path / "missing", tmp_path)
    assert not (tmp_path / "own").exists()


def test_failed_calibration_preserves_existing_model(
    graph: Path, calibrated: tuple[Path, str], cats: Path
) -> None:
    folder, _ = calibrated
    before = artifact.read(folder).manifest
    with pytest.raises(SystemExit, match="not among the 10 labels"):
        package(graph, cats, folder.parent)
    assert artifact.read(folder).manifest == before
    assert not list(folder.parent.glob(".packaging-*"))


def test_model_with_probabilities_has_no_ood_detection(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = ROOT / "models" / "mnist-tree"
    spec = tmp_path / "spec.json"
    spec.write_text(artifact.read(tree).manifest.preprocess.model_dump_json())
    main(["tree", "--onnx", str(tree / "model.onnx"), "--preprocess", str(spec),
          "--calibrate", str(images), "--out", str(tmp_path)])  # fmt: skip
    assert "no out-of-distribution detection" in capsys.readouterr().out
    calibration = artifact.read(tmp_path / "tree").manifest.calibration
    assert calibration is not None
    assert calibration.max_ood_score is None


def test_negative_outputs_are_not_accepted_as_probabilities(tmp_path: Path) -> None:
    graph = ROOT / "models" / "mnist-cnn" / "model.onnx"
    with pytest.raises(SystemExit, match="negative numbers, which are not probabilities"):
        main(["own", "--onnx", str(graph), "--output", "probabilities", "--out", str(tmp_path)])
    assert not (tmp_path / "own").exists()
