"""A person's own model is calibrated with their own pictures, or one line says why not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.inference.models import artifact, networks
from tests.conftest import ROOT
from training.data import synthetic_handwriting
from training.package.command import main

EACH = 24  # pictures of a digit


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held-out")
    rng = np.random.default_rng(0)
    for digit in range(10):
        (folder / str(digit)).mkdir()
        for number in range(EACH):
            synthetic_handwriting.write(digit, rng).save(folder / str(digit) / f"{number}.png")
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "mnist_cnn.pt"
    torch.save(networks.build("mnist-cnn").state_dict(), path)
    return path


def package(checkpoint: Path, calibrate: Path) -> None:
    main([
        "own", "--architecture", "mnist-cnn", "--checkpoint", str(checkpoint),
        "--calibrate", str(calibrate), "--out", str(checkpoint.parent),
    ])  # fmt: skip


def test_the_folder_of_an_own_model_says_how_far_it_is_to_be_trusted(
    checkpoint: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "3" / "broken.png").write_bytes(b"no picture")
    package(checkpoint, pictures)
    told = capsys.readouterr().out
    assert f"calibrated with {10 * EACH} pictures" in told
    assert "1 could not be read" in told
    assert "are strangers to it" in told
    fitted = artifact.read(checkpoint.parent / "own").manifest.calibration
    assert fitted is not None
    assert fitted.pictures == 10 * EACH
    assert fitted.max_ood_score is not None
    # Weights of chance know nothing: to be right in 95 % of the cases takes nearly all labels.
    assert fitted.mean_set_size["0.95"] > 8


def test_without_pictures_to_calibrate_with_a_model_promises_nothing(checkpoint: Path) -> None:
    main(["own", "--architecture", "mnist-cnn", "--checkpoint", str(checkpoint),
          "--out", str(checkpoint.parent)])  # fmt: skip
    assert artifact.read(checkpoint.parent / "own").manifest.calibration is None


def test_labels_that_the_model_does_not_know_are_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "zoo" / "cat").mkdir(parents=True)
    synthetic_handwriting.write(1, np.random.default_rng(0)).save(
        tmp_path / "zoo" / "cat" / "1.png"
    )
    with pytest.raises(SystemExit, match="'cat': not among the 10 labels"):
        package(checkpoint, tmp_path / "zoo")


def test_a_folder_of_files_that_are_no_pictures_calibrates_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "junk" / "3").mkdir(parents=True)
    (tmp_path / "junk" / "3" / "1.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="no picture that can be read"):
        package(checkpoint, tmp_path / "junk")


def test_what_to_calibrate_with_has_to_exist(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing at this path"):
        package(checkpoint, tmp_path / "missing")
    assert not (checkpoint.parent / "own").exists()


def test_a_calibration_that_fails_leaves_the_model_that_is_there(
    checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    package(checkpoint, pictures)
    before = artifact.read(checkpoint.parent / "own").manifest
    (tmp_path / "zoo" / "cat").mkdir(parents=True)
    synthetic_handwriting.write(1, np.random.default_rng(0)).save(
        tmp_path / "zoo" / "cat" / "1.png"
    )
    with pytest.raises(SystemExit, match="not among the 10 labels"):
        package(checkpoint, tmp_path / "zoo")
    assert artifact.read(checkpoint.parent / "own").manifest == before
    assert not list(checkpoint.parent.glob(".packaging-*"))


def test_what_gives_probabilities_is_told_that_they_do_not_tell_strangers(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = ROOT / "models" / "mnist-tree"
    spec = tmp_path / "spec.json"
    spec.write_text(artifact.read(tree).manifest.preprocess.model_dump_json())
    main(["tree", "--onnx", str(tree / "model.onnx"), "--preprocess", str(spec),
          "--calibrate", str(pictures), "--out", str(tmp_path)])  # fmt: skip
    told = capsys.readouterr().out
    assert "they do not tell what is not of its world" in told
    fitted = artifact.read(tmp_path / "tree").manifest.calibration
    assert fitted is not None
    assert fitted.max_ood_score is None


def test_outputs_called_probabilities_have_to_be_some(tmp_path: Path) -> None:
    graph = ROOT / "models" / "mnist-cnn" / "model.onnx"
    with pytest.raises(SystemExit, match="negative numbers, which are no probabilities"):
        main(["own", "--onnx", str(graph), "--output", "probabilities", "--out", str(tmp_path)])
    assert not (tmp_path / "own").exists()
