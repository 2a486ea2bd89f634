"""Binary and multi-label models are calibrated and evaluated with a CSV of sets of labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.inference.models import artifact
from evaluation.cli import main as evaluate
from evaluation.errors import ReportError
from evaluation.predictors.local import LocalPredictor
from evaluation.report import read as read_report
from tests.sigmoid_models import COLORS, SPEC, color, write_graph, write_model
from training.package.__main__ import main

IMAGES = 120
BOUND = 0.3  # of a channel from which an image has its label; the graph's logit is 0 at 0.5


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of images of one color; an image has the labels of its channels above BOUND."""
    rng = np.random.default_rng(0)
    lines = ["path,labels"]
    for index, channels in enumerate(rng.random((IMAGES, 3)).tolist()):
        (tmp_path / f"{index}.png").write_bytes(color(*channels))
        labels = [name for name, value in zip(COLORS, channels, strict=True) if value > BOUND]
        lines.append(f"{index}.png,{'|'.join(labels)}")
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "spec.json"
    path.write_text(SPEC.model_dump_json())
    return str(path)


def test_thresholds_are_fitted_to_sets_of_labels(
    tmp_path: Path, data: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, out = write_graph(tmp_path / "g.onnx", sigmoid=True), tmp_path / "models"
    (tmp_path / "labels.txt").write_text("\n".join(COLORS))
    main(["colors", str(graph), "--labels", str(tmp_path / "labels.txt"), "--preprocess", spec,
          "--task", "multi-label", "--calibrate", str(data), "--out", str(out)])  # fmt: skip
    assert "calibrated 3 of 3 labels on 120 images" in capsys.readouterr().out
    calibration = artifact.read(out / "colors").manifest.calibration
    assert calibration is not None
    assert calibration.thresholds is not None
    assert calibration.scaling is not None
    for threshold, scaling in zip(calibration.thresholds, calibration.scaling, strict=True):
        channel = 0.5 + (np.log(threshold / (1 - threshold)) - scaling.intercept) / (
            8 * scaling.slope
        )
        assert channel == pytest.approx(BOUND, abs=0.02)
    report = tmp_path / "report"
    arguments: list[Any] = [data, "--model", "colors", "--models-dir", out, "--out", report]
    assert evaluate(list(map(str, arguments))) == 0
    text = capsys.readouterr().out
    assert "mean average precision       1.0000" in text
    assert "exact match" in text
    with pytest.raises(ReportError, match="multi-label"):
        read_report(report)
    both = [str(data), "--compare", "colors", "colors", "--models-dir", str(out)]
    assert evaluate(both) == 1
    assert "multi-label" in capsys.readouterr().err


def test_unknown_label_of_a_set_is_refused(
    tmp_path: Path, data: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_text(data.read_text().replace("green", "verde"))
    graph = write_graph(tmp_path / "g.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(COLORS))
    with pytest.raises(SystemExit, match="verde"):
        main(["colors", str(graph), "--labels", str(tmp_path / "labels.txt"), "--preprocess", spec,
              "--task", "multi-label", "--calibrate", str(data),
              "--out", str(tmp_path)])  # fmt: skip
    assert not (tmp_path / "colors").exists()


def test_binary_model_is_calibrated(
    tmp_path: Path, data: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["red" if "red" in line else "other" for line in data.read_text().splitlines()[1:]]
    rows = [f"{index}.png,{name}" for index, name in enumerate(names)]
    data.write_text("\n".join(["path,label", *rows]) + "\n")
    (tmp_path / "labels.txt").write_text("other\nred\n")
    main(["colors", str(write_graph(tmp_path / "g.onnx", 1)), "--preprocess", spec, "--task",
          "binary", "--labels", str(tmp_path / "labels.txt"), "--calibrate", str(data),
          "--out", str(tmp_path / "models")])  # fmt: skip
    assert "the second label is predicted from 0." in capsys.readouterr().out
    with LocalPredictor(tmp_path / "models" / "colors") as predictor:
        below, above = predictor(iter([color(BOUND - 0.05, 1, 1), color(BOUND + 0.05, 0, 0)]))
    assert below.probabilities.argmax() == 0  # type: ignore[union-attr]
    assert above.probabilities.argmax() == 1  # type: ignore[union-attr]
    assert above.labels is None  # type: ignore[union-attr]


def test_local_predictor_returns_labels_above_thresholds(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    with LocalPredictor(model.folder) as predictor:
        assert predictor.task == "multi-label"
        (output,) = predictor(iter([color(1, 0, 1)]))
    assert set(output.labels) == {"red", "blue"}  # type: ignore[union-attr,arg-type]
