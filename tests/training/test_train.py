"""The training script, from its command line to a folder that serves."""

from pathlib import Path

import pytest

from backend.inference import artifact
from training import sources, train


def test_training_writes_a_model_folder_with_its_figures(
    small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "VALIDATION", 10)
    monkeypatch.setattr(sources, "UCI_VARIANTS", 1)
    monkeypatch.setattr(sources, "PEN_VARIANTS", 2)
    monkeypatch.setattr(sources, "NOTHING_COUNT", 10)
    train.main(["mnist-cnn", "--data", str(small_mnist), "--out", "out", "--epochs", "1"])
    model = artifact.read(tmp_path / "out" / "mnist-cnn")
    metrics = model.manifest.metrics
    assert {"test_accuracy", "test_accuracy_pictures", "onnx_parity"} <= set(metrics)
    assert metrics["onnx_parity"] <= 1e-4
    card = (model.folder / artifact.CARD).read_text()
    assert f"{metrics['test_accuracy']:.2%}" in card


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mnist-cnn", "--data", "nowhere"], "nowhere does not hold MNIST"),
        (["mnist-cnn", "--epochs", "0"], "1 or more"),
        (["resnet"], "mnist-cnn"),
    ],
)
def test_what_was_typed_wrong_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        train.main(arguments)
    assert said in f"{caught.value.code}{capsys.readouterr().err}"
