"""Networks with a sigmoid are packaged as binary or multi-label, or refused, never softmaxed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from backend.inference import runtimes
from backend.inference.models import artifact
from backend.inference.models.artifact import Manifest
from calibration.sigmoid import ProbabilityMap, sigmoid
from tests.sigmoid_models import SIDE, SPEC, color, write_graph, write_model
from training.package.__main__ import main
from training.package.imported import ASSUMED


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(SPEC.model_dump_json())
    return path


@pytest.fixture
def package(tmp_path: Path, spec: Path) -> Any:
    def run(graph: Path, *options: str) -> Manifest:
        main(["colors", str(graph), "--preprocess", str(spec), "--out", str(tmp_path), *options])
        return artifact.read(tmp_path / "colors").manifest

    return run


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "two.txt"
    path.write_text("other\nred\n")
    return str(path)


def refusal(package: Any, graph: Path, *options: str) -> str:
    with pytest.raises(SystemExit) as caught:
        package(graph, *options)
    return str(caught.value)


def test_sigmoid_as_last_node_requires_task(tmp_path: Path, package: Any) -> None:
    message = refusal(package, write_graph(tmp_path / "g.onnx", sigmoid=True))
    assert "ends in a sigmoid" in message
    assert "--task multi-label" in message
    assert not (tmp_path / "colors").exists()


def test_outputs_in_0_to_1_that_do_not_sum_to_1_require_task(tmp_path: Path, package: Any) -> None:
    path = write_graph(tmp_path / "g.onnx", sigmoid=True)
    model = onnx.load(path)
    model.graph.node[-1].op_type = "HardSigmoid"
    onnx.save(model, path)
    assert "do not sum to 1" in refusal(package, path)
    assert "--output probabilities" in refusal(package, path, "--task", "multi-label")
    assert package(path, "--task", "multi-label", "--output", "probabilities").task == "multi-label"


def test_one_output_requires_task(tmp_path: Path, package: Any) -> None:
    assert "--task binary" in refusal(package, write_graph(tmp_path / "g.onnx", 1))


def test_one_sigmoid_is_binary(tmp_path: Path, package: Any, labels: str) -> None:
    path = write_graph(tmp_path / "g.onnx", 1, sigmoid=True, flat=True)
    manifest = package(path, "--labels", labels)
    assert (manifest.task, manifest.output) == ("binary", "probabilities")
    assert manifest.labels == ("other", "red")


def test_labels_of_binary_task_are_two(
    tmp_path: Path, package: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_graph(tmp_path / "g.onnx", 1)
    (tmp_path / "one.txt").write_text("red\n")
    message = refusal(package, path, "--task", "binary", "--labels", str(tmp_path / "one.txt"))
    assert "two labels" in message
    manifest = package(path, "--task", "binary")
    assert (manifest.labels, manifest.output) == (("negative", "positive"), "logits")
    assert "labels is assumed" in capsys.readouterr().out


def test_binary_task_requires_one_output(tmp_path: Path, package: Any) -> None:
    message = refusal(package, write_graph(tmp_path / "g.onnx"), "--task", "binary")
    assert "has 3" in message
    assert "--task multi-label" in message


@pytest.mark.parametrize("has_sigmoid", [True, False])
def test_multi_label_graph_gets_kind_of_outputs(
    tmp_path: Path, package: Any, has_sigmoid: bool
) -> None:
    path = write_graph(tmp_path / "g.onnx", sigmoid=has_sigmoid)
    manifest = package(path, "--task", "multi-label", "--threshold", "0.3")
    assert manifest.output == ("probabilities" if has_sigmoid else "logits")
    assert manifest.calibration is not None
    assert manifest.calibration.thresholds == (0.3, 0.3, 0.3)
    network = runtimes.load(artifact.read(tmp_path / "colors"))
    batch = np.full((1, 3, SIDE, SIDE), 0.75, np.float32)
    shares = ProbabilityMap("multi-label", manifest.output, manifest.calibration)(network(batch))
    np.testing.assert_allclose(shares, sigmoid(np.full((1, 3), 2, np.float32)), atol=1e-6)


def test_wrong_kind_of_outputs_is_refused(tmp_path: Path, package: Any) -> None:
    task = ("--task", "multi-label")
    shares = write_graph(tmp_path / "shares.onnx", sigmoid=True)
    assert "--output probabilities" in refusal(package, shares, *task, "--output", "logits")
    graph = write_graph(tmp_path / "logits.onnx")
    assert "--output logits" in refusal(package, graph, *task, "--output", "probabilities")


def test_single_label_task_of_sigmoids_divides_by_their_sum(tmp_path: Path, package: Any) -> None:
    path = write_graph(tmp_path / "g.onnx", sigmoid=True)
    manifest = package(path, "--task", "single-label", "--output", "probabilities")
    assert manifest.task == "single-label"


def test_linear_outputs_are_single_label(tmp_path: Path, package: Any) -> None:
    manifest = package(write_graph(tmp_path / "g.onnx"))
    assert (manifest.task, manifest.output) == ("single-label", "logits")
    assert manifest.provenance["task"].startswith(ASSUMED)
    assert "task" not in json.loads((tmp_path / "colors" / "manifest.json").read_text())


def test_threshold_requires_multi_label_task(tmp_path: Path, package: Any) -> None:
    assert "requires --task" in refusal(
        package, write_graph(tmp_path / "g.onnx"), "--threshold=0.3"
    )


def test_multi_label_model_is_quantized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.inference.probes.COUNT", 8)
    write_model(tmp_path)
    main(["colors", "--quantize", "--out", str(tmp_path)])
    assert "the same label for" in capsys.readouterr().out


def test_expected_label_of_multi_label_model_must_reach_its_threshold(
    tmp_path: Path, package: Any
) -> None:
    graph = write_graph(tmp_path / "g.onnx")
    (tmp_path / "a.png").write_bytes(color(1, 0, 0.8))
    task = ("--task", "multi-label", "--labels", str(tmp_path / "colors.txt"))
    (tmp_path / "colors.txt").write_text("red\ngreen\nblue\n")
    package(graph, *task, "--expect", f"{tmp_path / 'a.png'}=blue")
    message = refusal(package, graph, *task, "--expect", f"{tmp_path / 'a.png'}=green")
    assert "less than its threshold" in message
