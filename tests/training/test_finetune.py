"""The fine-tuning command writes a model folder, and compares it with a head."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.preprocessing.photos import prepare_photo
from tests.training.small_photos import (
    COLORS,
    SPEC,
    use_tiny_scale,
    write_backbone,
    write_photographs,
)
from training.finetune import main


def run(source: Path, folder: Path, *options: str) -> None:
    main([str(source), "--models", str(folder), "--out", str(folder), "--threads", "1", *options])


def test_folder_with_figures_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_tiny_scale(monkeypatch)
    backbone = write_backbone(tmp_path)
    write_photographs(tmp_path / "colors")
    run(tmp_path / "colors", tmp_path, "--name", "tuned", "--epochs", "3", "--version", "7")
    model = artifact.read(tmp_path / "tuned")
    manifest = model.manifest
    assert (manifest.labels, manifest.version) == (("green", "red"), "7")
    assert (manifest.architecture, manifest.preprocess) == ("efficientnet-lite0", SPEC)
    assert manifest.license == "Apache-2.0"
    assert manifest.calibration is not None
    assert manifest.calibration.pictures == 4
    assert manifest.metrics["test_accuracy"] == 1
    assert manifest.metrics["head_accuracy"] == 1
    assert manifest.metrics["onnx_parity"] < 1e-4
    images = [Image.new("RGB", (50, 50), color) for color in COLORS.values()]
    rows = np.stack([prepare_photo(image, SPEC) for image in images])
    for runtime in ("onnx", "torch"):
        assert list(runtimes.load(model, runtime)(rows).argmax(axis=1)) == [0, 1]
    card = (model.folder / artifact.CARD).read_text()
    assert backbone.network_sha256 in card
    report = capsys.readouterr().out
    for text in (card, report):
        assert "fine-tuned network: accuracy 100.0% (95% interval: 51.0% to 100.0%)" in text
        assert "head on the original features: accuracy 100.0%" in text
        assert "the difference may be chance" in text
    assert "2 classes, 16 images to train on, 4 held out" in report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "Bad name"), "--name may contain"),
        (("--name", "m", "--epochs", "0"), "must be at least 1"),
        (("--name", "m", "--held-out", "0.9"), "--held-out must be between"),
    ],
)
def test_invalid_option_is_reported(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path, *options)
    assert message in capsys.readouterr().err


def test_backbone_that_cannot_be_trained_is_reported(tmp_path: Path) -> None:
    write_backbone(tmp_path, "mnist-mlp")
    with pytest.raises(SystemExit, match="architecture mnist-mlp; only models with weights of"):
        run(tmp_path, tmp_path, "--name", "m")


def test_name_of_another_folder_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(SystemExit, match="not a model folder that can be read"):
        run(tmp_path, tmp_path, "--name", "mine")
