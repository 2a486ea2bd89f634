"""Classifications of calibrated models: probabilities, prediction sets and OOD scores."""

import asyncio
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import InferenceError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.runtimes import Runtime, RuntimeName
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.inference.types import ClassificationResult, Floats
from calibration import apply
from calibration.apply import COVERAGES, Calibration
from tests.conftest import ROOT
from tests.fake_models import CALIBRATION, GRAY, digit_in, fake_loader, gray, write_model
from tests.images import encoded, seven

FITTED_CALIBRATION = Calibration.model_validate(CALIBRATION)
CALIBRATION_WITHOUT_OOD = CALIBRATION | {"max_ood_score": None}


class Linear:
    """Logits for 8x8 images and any number of classes, from random weights."""

    name = "linear"
    concurrent = True

    def __init__(self, classes: int, scale: float = 4.0) -> None:
        self._weights = np.random.default_rng(1).normal(size=(64, classes)) * scale / 8

    def __call__(self, batch: Floats) -> Floats:
        logits: Floats = (batch.reshape(len(batch), -1) @ self._weights).astype(np.float32)
        return logits


class Outputs:
    """Returns fixed outputs for every image, and valid probabilities in the warm-up."""

    name = "outputs"
    concurrent = True

    def __init__(self, outputs: Sequence[float]) -> None:
        self._outputs = np.array(outputs, dtype=np.float32)

    def __call__(self, batch: Floats) -> Floats:
        good = np.eye(1, len(self._outputs), dtype=np.float32).repeat(len(batch), axis=0)
        good[[digit_in(item) > 0 for item in batch]] = self._outputs
        return good


def create_model(folder: Path, **fields: Any) -> Artifact:
    return artifact.read(write_model(folder, **{"preprocess": GRAY} | fields))


def classify(model: Artifact, runtime: Runtime, rows: Floats) -> list[ClassificationResult]:
    return run(Classifier(model, partial(fake_loader(runtime), model)), rows)


def run(classifier: Classifier, rows: Floats) -> list[ClassificationResult]:
    try:
        return asyncio.run(classifier.classify_inputs(rows))
    finally:
        classifier.close()


def random_rows(count: int) -> Floats:
    return np.random.default_rng(0).normal(size=(count, 1, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("classes", [10, 1000])
def test_results_equal_those_of_the_calibration_functions(tmp_path: Path, classes: int) -> None:
    labels = tuple(map(str, range(classes)))
    runtime, rows = Linear(classes), random_rows(200)
    logits = runtime(rows)
    scores = apply.ood_scores(logits)
    limit = float(np.sort(scores)[100])
    fields = {"labels": labels, "calibration": CALIBRATION | {"max_ood_score": limit + 1e-3}}
    results = classify(create_model(tmp_path, **fields), runtime, rows)
    expected = apply.probabilities(logits, "logits", FITTED_CALIBRATION.temperature)
    np.testing.assert_allclose([result.probabilities for result in results], expected, rtol=1e-4)
    assert [result.ood_score for result in results] == pytest.approx(scores.tolist(), rel=1e-4)
    assert [result.in_distribution for result in results] == (scores <= limit).tolist()
    for coverage in COVERAGES:
        mask = apply.prediction_sets(expected, FITTED_CALIBRATION.sets, coverage)
        sets = [result.prediction_set(coverage) or () for result in results]
        assert [set(labels) for labels in sets] == [set(map(str, np.flatnonzero(b))) for b in mask]
        assert [labels[0] for labels in sets] == [result.top(1)[0].label for result in results]
        assert len({len(labels) for labels in sets}) > 2


def test_prediction_set_is_sorted_and_grows_with_coverage(tmp_path: Path) -> None:
    (result,) = classify(
        create_model(tmp_path, calibration=CALIBRATION, labels=("a", "b", "c", "d")),
        Outputs([1.5 * np.log(p) for p in (0.03, 0.08, 0.59, 0.3)]),  # the temperature is 1.5
        np.ones((1, 1, 8, 8), dtype=np.float32),
    )
    assert [result.prediction_set(coverage) for coverage in COVERAGES] == [
        ("c", "d"), ("c", "d", "b"), ("c", "d", "b", "a"),
    ]  # fmt: skip


def test_prediction_set_is_never_empty(tmp_path: Path) -> None:
    strict = [group | {"min_probability": 1} for group in CALIBRATION["sets"]]
    model = create_model(tmp_path, calibration=CALIBRATION | {"sets": strict})
    for result in classify(model, Linear(10), random_rows(20)):
        assert result.prediction_set(0.9) == (result.top(1)[0].label,)


def test_unknown_coverage_raises_value_error(tmp_path: Path) -> None:
    (result,) = classify(
        create_model(tmp_path, calibration=CALIBRATION), Linear(10), random_rows(1)
    )
    with pytest.raises(ValueError, match=r"coverage of 0\.5"):
        result.prediction_set(0.5)


def test_uncalibrated_model_has_no_prediction_set(
    tmp_path: Path,
) -> None:
    (result,) = classify(create_model(tmp_path), Linear(10), random_rows(1))
    assert result.prediction_set(0.95) is None
    assert result.in_distribution is None
    assert result.ood_score is not None


def test_model_with_probabilities_has_sets_and_no_ood_score(tmp_path: Path) -> None:
    model = create_model(
        tmp_path, labels=tuple("abc"), output="probabilities", calibration=CALIBRATION_WITHOUT_OOD
    )
    (result,) = classify(model, Outputs([0.1, 0.6, 0.3]), np.ones((1, 1, 8, 8), dtype=np.float32))
    scaled = np.array([0.1, 0.6, 0.3]) ** (1 / 1.5)
    np.testing.assert_allclose(result.probabilities, scaled / scaled.sum(), rtol=1e-5)
    assert result.prediction_set(0.95) == ("b", "c", "a")
    assert result.ood_score is result.in_distribution is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.anyio
async def test_output_that_is_not_finite_raises_inference_error(tmp_path: Path, bad: float) -> None:
    model = create_model(tmp_path, calibration=CALIBRATION)
    runtime = Outputs([bad, *[1.0] * 9])
    classifier = Classifier(model, partial(fake_loader(runtime), model))
    try:
        with pytest.raises(InferenceError, match="not finite"):
            await classifier.classify(gray(1))
        assert (await classifier.classify(gray(0))).prediction_set(0.9) is not None
    finally:
        classifier.close()


def test_both_runtimes_return_the_same_sets(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(ROOT / "models" / "mnist-cnn", folder)
    manifest = artifact.read_manifest(folder).model_copy(update={"calibration": FITTED_CALIBRATION})
    model = artifact.write_manifest(folder, manifest)
    rows = np.random.default_rng(0).normal(size=(64, 1, 28, 28)).astype(np.float32)
    rows[:, :, 8:20, 8:20] += 1  # not a digit: many labels are likely

    def sets(name: RuntimeName) -> list[list[tuple[str, ...] | None]]:
        results = run(Classifier(model, partial(runtimes.load, model, name)), rows)
        return [[result.prediction_set(coverage) for coverage in COVERAGES] for result in results]

    by_onnx = sets("onnx")
    assert by_onnx == sets("torch")
    assert len({len(labels) for each in by_onnx for labels in each if labels}) > 2


def test_clutter_around_a_digit_raises_its_ood_score(tmp_path: Path) -> None:
    model = create_model(tmp_path, preprocess=DigitPreprocess(), calibration=CALIBRATION)
    plain = seven(200, paper="#999")
    noise = np.random.default_rng(0).normal(0, 30, (200, 200, 1))
    cluttered = Image.fromarray((np.asarray(plain) + noise).clip(0, 255).astype(np.uint8))
    classifier = Classifier(model, partial(fake_loader(FakeRuntime(10)), model), threads=1)
    try:
        on_paper, in_scene = (
            asyncio.run(classifier.classify(encoded(image))) for image in (plain, cluttered)
        )
    finally:
        classifier.close()
    assert on_paper.ood_score is not None
    assert in_scene.ood_score is not None
    assert in_scene.ood_score > on_paper.ood_score + 0.5
    np.testing.assert_array_equal(in_scene.probabilities, on_paper.probabilities)
