"""The training script, from its command line to a folder that serves."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.preprocessing.digits import DigitPreprocess, normalize
from tests.training import small
from tests.training.conftest import drawn
from training import train
from training.data import sources
from training.fit.run_folder import Run


@pytest.fixture
def few(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which the sources are small."""
    monkeypatch.chdir(workplace)
    for name, value in small.SOURCES.items():
        monkeypatch.setattr(sources, name, value)
    return workplace


@pytest.mark.parametrize("name", ["mnist-cnn", "mnist-mlp", "mnist-tree"])
def test_training_writes_a_model_folder_and_a_run_folder(
    name: str, small_mnist: Path, few: Path
) -> None:
    train.main([name, "--data", str(small_mnist), "--out", "out", "--epochs", "1"])
    model = artifact.read(few / "out" / name)
    metrics = model.manifest.metrics
    assert {"test_accuracy", "test_accuracy_pictures"} <= set(metrics)
    card = (model.folder / artifact.CARD).read_text()
    assert f"{metrics['test_accuracy']:.2%}" in card
    assert "{" not in card
    run = few / "runs" / name
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


def test_the_networks_are_the_same_in_torch_and_onnx_and_their_epochs_are_kept(
    small_mnist: Path, few: Path
) -> None:
    train.main(["mnist-mlp", "--data", str(small_mnist), "--out", "out", "--epochs", "2"])
    model = artifact.read(few / "out" / "mnist-mlp")
    assert model.manifest.metrics["onnx_parity"] <= 1e-4
    assert model.manifest.architecture == "mnist-mlp"
    inputs = normalize(drawn(10, 1)[0], DigitPreprocess())
    onnx, network = (runtimes.load(model, runtime)(inputs) for runtime in ("onnx", "torch"))
    np.testing.assert_allclose(onnx, network, atol=1e-4)
    run = few / "runs" / "mnist-mlp"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert (run / "curves.png").stat().st_size > 1000


def test_the_same_command_again_trains_nothing_twice(
    small_mnist: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["mnist-mlp", "--data", str(small_mnist), "--out", "out", "--epochs", "1"]
    train.main(command)
    once = artifact.read(few / "out" / "mnist-mlp").manifest.files
    capsys.readouterr()
    train.main(command)
    assert artifact.read(few / "out" / "mnist-mlp").manifest.files == once
    assert "going on after epoch 1" in capsys.readouterr().out
    train.main([*command, "--fresh"])
    assert "going on" not in capsys.readouterr().out


def test_a_run_with_other_settings_is_not_gone_on_with(small_mnist: Path, few: Path) -> None:
    command = ["mnist-mlp", "--data", str(small_mnist), "--out", "out", "--epochs", "1"]
    train.main(command)
    with pytest.raises(SystemExit, match=r"other settings.*--fresh"):
        train.main([*command, "--bfloat16"])


def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_happened(
    small_mnist: Path, workplace: Path
) -> None:
    command = ["mnist-mlp", "--data", str(small_mnist), "--epochs", "3", "--out"]
    killed = small.run(workplace, *command, "killed", die_after=1)
    assert killed.returncode == -signal.SIGKILL
    assert not (workplace / "killed").exists()
    resumed = small.run(workplace, *command, "killed")
    assert "going on after epoch 1" in resumed.stdout
    whole = small.run(workplace, *command, "whole", "--fresh")
    assert "going on" not in whole.stdout
    once, twice = (artifact.read(workplace / name / "mnist-mlp") for name in ("killed", "whole"))
    assert once.manifest.files == twice.manifest.files
    assert artifact.WEIGHTS in once.manifest.files


def test_two_trainings_do_not_share_a_run_folder(
    small_mnist: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run(few / "runs" / "mnist-mlp").locked(), pytest.raises(SystemExit, match="another"):
        train.main(["mnist-mlp", "--data", str(small_mnist), "--out", "out"])


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
