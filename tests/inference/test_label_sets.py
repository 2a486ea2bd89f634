"""Thresholds, explanations and comparisons of models with independent outputs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from backend.inference.comparison import compare_answers
from backend.inference.labeling import Labeler
from backend.inference.models import artifact
from backend.inference.models.artifact import Manifest
from backend.inference.occlusion import log_odds
from backend.inference.types import Floats, Timings
from tests.fake_models import CALIBRATION
from tests.sigmoid_models import COLORS, SPEC, write_model

THRESHOLDS: dict[str, Any] = {"thresholds": (0.5, 0.9, 0.2), "pictures": 1, "source": "x"}


def make_manifest(task: str = "multi-label", **fields: Any) -> Manifest:
    labels = COLORS[:2] if task == "binary" else COLORS
    defaults: dict[str, Any] = {"name": "x", "version": "1", "architecture": "onnx", "files": {}}
    defaults["labels"] = labels
    return Manifest.model_validate(defaults | {"preprocess": SPEC, "task": task} | fields)


@dataclass
class FixedNetwork:
    """Returns the same logits for every input."""

    logits: list[float]
    name: str = "fixed"
    concurrent: bool = True

    def __call__(self, batch: Floats) -> Floats:
        return np.array([self.logits] * len(batch), np.float32)


def test_labels_that_reach_their_thresholds_are_sorted_by_probability() -> None:
    labeler = Labeler(make_manifest(calibration=THRESHOLDS))
    rows = np.array([[0.5, 0.89, 0.6], [0.1, 0.1, 0.1]], np.float32)
    first, second = labeler(rows, None, Timings(0, 0, 0))
    found = first.labels_above_threshold()
    assert found is not None
    assert [score.label for score in found] == ["blue", "red"]
    assert second.labels_above_threshold() == []
    assert (first.top(1)[0].label, first.prediction_set(0.9)) == ("green", None)


def test_binary_model_has_no_thresholds() -> None:
    (result,) = Labeler(make_manifest("binary"))(
        np.array([[0.2, 0.8]], np.float32), None, Timings(0, 0, 0)
    )
    assert result.labels_above_threshold() is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "binary", "labels": COLORS}, "must be two"),
        ({"task": "multi-label", "calibration": CALIBRATION}, "multi-label only"),
        ({"task": "single-label", "calibration": THRESHOLDS}, "multi-label only"),
        ({"calibration": THRESHOLDS | {"thresholds": (0.5,)}}, "3 entries"),
        ({"calibration": THRESHOLDS | {"scaling": [{"slope": 1, "intercept": 0}]}}, "3 entries"),
        ({"task": "binary", "labels": COLORS[:2], "calibration": CALIBRATION}, "max_ood_score"),
    ],
)
def test_manifest_that_does_not_fit_its_task_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        make_manifest(**fields)


def test_manifest_of_single_label_model_has_no_new_fields(tmp_path: Path) -> None:
    model = write_model(tmp_path, "single-label", calibration=CALIBRATION)
    text = (model.folder / artifact.MANIFEST).read_text()
    assert not [name for name in ("task", "scaling", "thresholds") if f'"{name}"' in text]


def test_independent_labels_do_not_lower_the_log_odds_of_each_other() -> None:
    shares = np.array([[0.75, 0.99]], np.float32)
    np.testing.assert_allclose(log_odds(shares, 0, independent=True), np.log([3]), rtol=1e-5)
    np.testing.assert_allclose(log_odds(shares, 0), np.log([0.75 / 0.99]), rtol=1e-5)


def test_answers_agree_only_if_all_labels_do() -> None:
    manifest, row = make_manifest(), np.zeros(SPEC.input_shape, np.float32)
    reference = FixedNetwork([4, 1, -4])
    same = compare_answers(manifest, reference, FixedNetwork([4, 0.9, -4]), [row])
    other = compare_answers(manifest, reference, FixedNetwork([4, -1, -4]), [row])
    assert (same.labels, other.labels, same.verdicts) == (1, 0, None)
    assert other.confidence_difference == pytest.approx(0.462, abs=0.001)


def test_answers_of_binary_models_are_compared() -> None:
    row = np.zeros(SPEC.input_shape, np.float32)
    found = compare_answers(make_manifest("binary"), FixedNetwork([1]), FixedNetwork([-1]), [row])
    assert found.labels == 0
