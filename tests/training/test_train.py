"""The training command writes a model folder and a run folder, and resumes interrupted runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.preprocessing.digit_crop import DigitPreprocess, normalize
from tests.training import small_training
from tests.training.small_training import create_work_folder, draw_crops
from training import train
from training.data import sources
from training.fit.run_folder import RunFolder


@pytest.fixture(scope="module", autouse=True)
def work_folder(tmp_path_factory: pytest.TempPathFactory, rendered: Path) -> Iterator[Path]:
    """The working directory of all trainings, with small datasets."""
    folder = create_work_folder(tmp_path_factory.mktemp("training"), rendered)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        for name, value in small_training.SIZES.items():
            monkeypatch.setattr(sources, name, value)
        yield folder


def train_model(name: str, mnist: Path, *options: str) -> None:
    train.main([name, "--data", str(mnist), "--out", "out", *options])


@pytest.fixture(scope="module")
def trained_mlp(work_folder: Path, small_mnist: Path) -> Path:
    """The working directory after a training of mnist-mlp for two epochs."""
    train_model("mnist-mlp", small_mnist, "--epochs", "2")
    return work_folder


def check_folders(name: str, folder: Path) -> None:
    """Check the model folder and the run folder of a training."""
    model = artifact.read(folder / "out" / name)
    metrics = model.manifest.metrics
    assert {"test_accuracy", "test_accuracy_pictures"} <= set(metrics)
    card = (model.folder / artifact.CARD).read_text()
    assert f"{metrics['test_accuracy']:.2%}" in card
    assert "{" not in card
    run = folder / "runs" / name
    summary = json.loads((run / "summary.json").read_text())
    assert summary["metrics"] == metrics
    rows = (run / "confusion.csv").read_text().splitlines()
    counts = np.array([[int(count) for count in row.split(",")[1:]] for row in rows[1:]])
    assert counts.sum() == 20
    assert counts.trace() / 20 == pytest.approx(metrics["test_accuracy"])
    assert [curve["label"] for curve in json.loads((run / "roc.json").read_text())] == list(
        "0123456789"
    )
    assert (run / "confusion.png").stat().st_size > 1000
    assert (run / "roc.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["mnist-cnn", "mnist-tree"])
def test_training_writes_model_folder_and_run_folder(
    name: str, small_mnist: Path, work_folder: Path
) -> None:
    train_model(name, small_mnist, "--epochs", "1")
    check_folders(name, work_folder)


def test_mlp_training_writes_model_folder_and_run_folder(trained_mlp: Path) -> None:
    check_folders("mnist-mlp", trained_mlp)


def test_torch_and_onnx_outputs_match(trained_mlp: Path) -> None:
    model = artifact.read(trained_mlp / "out" / "mnist-mlp")
    assert model.manifest.metrics["onnx_parity"] <= 1e-4
    assert model.manifest.architecture == "mnist-mlp"
    inputs = normalize(draw_crops(10, 1)[0], DigitPreprocess())
    onnx, network = (runtimes.load(model, runtime)(inputs) for runtime in ("onnx", "torch"))
    np.testing.assert_allclose(onnx, network, atol=1e-4)


def test_metrics_of_every_epoch_are_recorded(trained_mlp: Path) -> None:
    run = trained_mlp / "runs" / "mnist-mlp"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert (run / "curves.png").stat().st_size > 1000


def test_repeated_command_resumes_unless_fresh(
    trained_mlp: Path, small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = artifact.read(trained_mlp / "out" / "mnist-mlp").manifest.files
    train_model("mnist-mlp", small_mnist, "--epochs", "2")
    assert artifact.read(trained_mlp / "out" / "mnist-mlp").manifest.files == files
    assert "resuming after epoch 2" in capsys.readouterr().out
    train_model("mnist-mlp", small_mnist, "--epochs", "2", "--fresh")
    assert "resuming" not in capsys.readouterr().out


@pytest.mark.usefixtures("trained_mlp")
def test_run_with_other_settings_is_not_resumed(small_mnist: Path) -> None:
    with pytest.raises(SystemExit, match=r"other settings.*--fresh"):
        train_model("mnist-mlp", small_mnist, "--epochs", "2", "--bfloat16")


def test_run_folder_is_locked_during_training(small_mnist: Path, work_folder: Path) -> None:
    run = RunFolder(work_folder / "runs" / "mnist-mlp")
    with run.lock(), pytest.raises(SystemExit, match="another training run"):
        train_model("mnist-mlp", small_mnist)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist-cnn", "--data", "nowhere"], "MNIST files are missing in nowhere"),
        (["mnist-cnn", "--epochs", "0"], "at least 1"),
        (["resnet"], "mnist-cnn"),
    ],
)
def test_invalid_arguments_end_with_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        train.main(arguments)
    assert message in f"{error.value.code}{capsys.readouterr().err}"
