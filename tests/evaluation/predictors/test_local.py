"""Tests of a local model folder."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from backend.inference.types import ClassificationResult, Timings
from evaluation.errors import PredictorError
from evaluation.predictors import local
from evaluation.predictors.local import LocalPredictor, find_model
from evaluation.types import Failure, ModelOutput
from tests.conftest import ROOT
from tests.fake_models import write_model
from tests.images import encoded, noise, seven
from tests.inference.heads import write_backbone, write_head

MODELS = ROOT / "models"


@pytest.fixture(scope="module")
def model() -> Iterator[LocalPredictor]:
    with LocalPredictor(MODELS / "mnist-cnn") as predictor:
        yield predictor


def test_results_are_in_order_and_invalid_images_fail_individually(model: LocalPredictor) -> None:
    contents = [encoded(seven()), b"not an image", encoded(noise(64, 64)), b""] * 40
    results = list(model(iter(contents)))
    assert len(results) == 160
    for start in range(0, 160, 4):
        first, broken, other, empty = results[start : start + 4]
        assert isinstance(first, ModelOutput)
        assert isinstance(other, ModelOutput)
        assert model.labels[int(first.probabilities.argmax())] == "7"
        assert isinstance(broken, Failure)
        assert isinstance(empty, Failure)
        assert "image" in broken.reason


def test_probabilities_equal_those_of_the_backend(model: LocalPredictor, backend_url: str) -> None:
    content = encoded(seven(90))
    response = httpx.post(f"{backend_url}/classify", files={"file": content}).json()
    (output,) = model(iter([content]))
    assert isinstance(output, ModelOutput)
    assert output.probabilities == pytest.approx(np.array(response["probabilities"]), abs=1e-6)
    assert output.probabilities.dtype == np.float32
    assert 0 < output.seconds < 10
    assert (model.name, model.version) == ("mnist-cnn", response["model"]["version"])


def test_few_images_are_read_ahead(model: LocalPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    images_read = 0

    def contents() -> Iterator[bytes]:
        nonlocal images_read
        for _ in range(500):
            images_read += 1
            yield encoded(seven(40))

    results = model(contents())
    next(results)
    assert images_read <= local.MAX_PENDING
    monkeypatch.setattr(local, "MAX_PENDING_BYTES", 1)
    for yielded, _ in enumerate(results, 2):
        if yielded > local.MAX_PENDING + 2:
            assert images_read <= yielded + 1
    assert images_read == 500


def test_model_is_output_by_name_or_path(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mine")
    assert find_model("mine", tmp_path) == folder
    assert find_model(str(folder), Path("nowhere")) == folder
    with pytest.raises(PredictorError, match=r"'yours' is not a model folder; .* contains mine"):
        find_model("yours", tmp_path)
    with pytest.raises(PredictorError, match="nowhere contains no model folders"):
        find_model("yours", Path("nowhere"))


def test_damaged_model_raises_predictor_error(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mine")
    with pytest.raises(PredictorError, match="mine"):
        LocalPredictor(folder)
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(PredictorError, match="SHA-256 differs"):
        LocalPredictor(folder)


@pytest.mark.parametrize(("coverage", "size"), [(0.9, 1), (0.99, 2)])
def test_output_of_a_calibrated_model(coverage: float, size: int) -> None:
    result = ClassificationResult(
        ("a", "b"),
        np.array([0.1, 0.9], np.float32),
        np.array([1, 0]),
        Timings(1.0, 500.0, 2.0),
        ood_score=4.5,
        in_distribution=False,
        set_size=lambda _, coverage: 2 if coverage == 0.99 else 1,
    )
    output = local._to_output(result, coverage)
    assert output.prediction_set == ("b", "a")[:size]
    assert output.coverage == coverage
    assert (output.in_distribution, output.ood_score) == (False, 4.5)
    assert output.seconds == pytest.approx(0.003)  # without the time in the queue


def test_output_of_an_uncalibrated_model() -> None:
    result = ClassificationResult(
        ("a", "b"), np.array([1, 0], np.float32), np.arange(2), Timings(1, 0, 2)
    )
    output = local._to_output(result, 0.95)
    assert (output.prediction_set, output.coverage, output.in_distribution) == (None, None, None)


def test_taught_model_is_run_with_its_backbone(tmp_path: Path) -> None:
    backbone = write_backbone(tmp_path / "models")
    folder = write_head(tmp_path, backbone=backbone)
    with LocalPredictor(folder, models_dir=tmp_path / "models") as predictor:
        (result,) = predictor(iter([encoded(Image.new("RGB", (64, 64), "red"))]))
    assert isinstance(result, ModelOutput)
    assert predictor.labels[int(result.probabilities.argmax())] == "red"
    with pytest.raises(PredictorError, match="'photos' is not a model folder"):
        LocalPredictor(folder)
    other = {"name": "photos", "sha256": "0" * 64}
    folder = write_head(tmp_path / "models", backbone=backbone, backbone_of=other)
    with pytest.raises(PredictorError, match="taught with other weights"):
        LocalPredictor(folder)
