"""What a calibrated model answers: the probabilities, sets and scores of `calibration.py`."""

import asyncio
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import InferenceError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes import Runtime, RuntimeName
from backend.inference.types import Floats, ClassificationResult
from calibration import apply
from calibration.apply import COVERAGES, Calibration
from tests.conftest import ROOT
from tests.fake_models import CALIBRATION, GRAY, fake_loader, gray, digit_in, write_model

FITTED = Calibration.model_validate(CALIBRATION)
NO_SCORE = CALIBRATION | {"max_ood_score": None}


class Linear:
    """Logits of any number of classes from 8x8 pictures: each class another random mixture."""

    name = "linear"
    concurrent = True

    def __init__(self, classes: int, scale: float = 4.0) -> None:
        self._weights = np.random.default_rng(1).normal(size=(64, classes)) * scale / 8

    def __call__(self, batch: Floats) -> Floats:
        logits: Floats = (batch.reshape(len(batch), -1) @ self._weights).astype(np.float32)
        return logits


class Outputs:
    """Gives these outputs for every picture; the warm-up is given zeros that sum to one."""

    name = "outputs"
    concurrent = True

    def __init__(self, outputs: Sequence[float]) -> None:
        self._outputs = np.array(outputs, dtype=np.float32)

    def __call__(self, batch: Floats) -> Floats:
        good = np.eye(1, len(self._outputs), dtype=np.float32).repeat(len(batch), axis=0)
        good[[digit_in(item) > 0 for item in batch]] = self._outputs
        return good


def model(folder: Path, **fields: Any) -> Artifact:
    return artifact.read(write_model(folder, **{"preprocess": GRAY} | fields))


def answers(model: Artifact, runtime: Runtime, rows: Floats) -> list[ClassificationResult]:
    return run(Classifier(model, partial(fake_loader(runtime), model)), rows)


def run(classifier: Classifier, rows: Floats) -> list[ClassificationResult]:
    try:
        return asyncio.run(classifier.classify_inputs(rows))
    finally:
        classifier.close()


def pictures(count: int) -> Floats:
    return np.random.default_rng(0).normal(size=(count, 1, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("classes", [10, 1000])
def test_answers_are_what_the_functions_make_of_the_outputs(tmp_path: Path, classes: int) -> None:
    labels = tuple(map(str, range(classes)))
    runtime, rows = Linear(classes), pictures(200)
    logits = runtime(rows)
    scores = apply.ood_scores(logits)
    limit = float(np.sort(scores)[100])
    fields = {"labels": labels, "calibration": CALIBRATION | {"max_ood_score": limit + 1e-3}}
    found = answers(model(tmp_path, **fields), runtime, rows)
    expected = apply.probabilities(logits, "logits", FITTED.temperature)
    np.testing.assert_allclose([one.probabilities for one in found], expected, rtol=1e-4)
    assert [one.ood_score for one in found] == pytest.approx(scores.tolist(), rel=1e-4)
    assert [one.in_distribution for one in found] == (scores <= limit).tolist()
    for coverage in COVERAGES:
        belong = apply.prediction_sets(expected, FITTED.sets, coverage)
        sets = [one.prediction_set(coverage) or () for one in found]
        assert [set(one) for one in sets] == [set(map(str, np.flatnonzero(b))) for b in belong]
        assert [one[0] for one in sets] == [one.top(1)[0].label for one in found]
        assert len({len(one) for one in sets}) > 2


def test_a_set_is_sorted_by_probability_and_grows_with_the_coverage(tmp_path: Path) -> None:
    (found,) = answers(
        model(tmp_path, calibration=CALIBRATION, labels=("a", "b", "c", "d")),
        Outputs([1.5 * np.log(p) for p in (0.03, 0.08, 0.59, 0.3)]),  # the temperature is 1.5
        np.ones((1, 1, 8, 8), dtype=np.float32),
    )
    assert [found.prediction_set(coverage) for coverage in COVERAGES] == [
        ("c", "d"), ("c", "d", "b"), ("c", "d", "b", "a"),
    ]  # fmt: skip


def test_a_set_is_never_empty(tmp_path: Path) -> None:
    strict = [group | {"min_probability": 1} for group in CALIBRATION["sets"]]
    given = model(tmp_path, calibration=CALIBRATION | {"sets": strict})
    for one in answers(given, Linear(10), pictures(20)):
        assert one.prediction_set(0.9) == (one.top(1)[0].label,)


def test_another_coverage_is_an_error(tmp_path: Path) -> None:
    (one,) = answers(model(tmp_path, calibration=CALIBRATION), Linear(10), pictures(1))
    with pytest.raises(ValueError, match=r"coverage of 0\.5"):
        one.prediction_set(0.5)


def test_without_calibration_no_set_is_promised_and_the_score_judges_nothing(
    tmp_path: Path,
) -> None:
    (one,) = answers(model(tmp_path), Linear(10), pictures(1))
    assert one.prediction_set(0.95) is None
    assert one.in_distribution is None
    assert one.ood_score is not None


def test_a_model_that_gives_probabilities_has_sets_and_no_score(tmp_path: Path) -> None:
    given = model(tmp_path, labels=tuple("abc"), output="probabilities", calibration=NO_SCORE)
    (one,) = answers(given, Outputs([0.1, 0.6, 0.3]), np.ones((1, 1, 8, 8), dtype=np.float32))
    scaled = np.array([0.1, 0.6, 0.3]) ** (1 / 1.5)
    np.testing.assert_allclose(one.probabilities, scaled / scaled.sum(), rtol=1e-5)
    assert one.prediction_set(0.95) == ("b", "c", "a")
    assert one.ood_score is one.in_distribution is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.anyio
async def test_a_number_that_is_not_finite_stays_an_error(tmp_path: Path, bad: float) -> None:
    given = model(tmp_path, calibration=CALIBRATION)
    runtime = Outputs([bad, *[1.0] * 9])
    classifier = Classifier(given, partial(fake_loader(runtime), given))
    try:
        with pytest.raises(InferenceError, match="not finite"):
            await classifier.classify(gray(1))
        assert (await classifier.classify(gray(0))).prediction_set(0.9) is not None
    finally:
        classifier.close()


def test_both_runtimes_give_the_same_sets(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(ROOT / "models" / "mnist-cnn", folder)
    manifest = artifact.read_manifest(folder).model_copy(update={"calibration": FITTED})
    given = artifact.write_manifest(folder, manifest)
    rows = np.random.default_rng(0).normal(size=(64, 1, 28, 28)).astype(np.float32)
    rows[:, :, 8:20, 8:20] += 1  # something, but no digit: many labels are likely

    def sets(name: RuntimeName) -> list[list[tuple[str, ...] | None]]:
        found = run(Classifier(given, partial(runtimes.load, given, name)), rows)
        return [[one.prediction_set(coverage) for coverage in COVERAGES] for one in found]

    by_onnx = sets("onnx")
    assert by_onnx == sets("torch")
    assert len({len(one) for each in by_onnx for one in each if one}) > 2
