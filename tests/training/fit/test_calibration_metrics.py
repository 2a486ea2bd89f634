"""Calibration and rejection metrics are computed from the outputs."""

import numpy as np
import pytest

from calibration.fit import calibrate
from tests.calibration.test_fit import sample_outputs
from training.fit.calibration_metrics import (
    cross_fit,
    equal_mass_ece,
    measure_calibration,
    measure_rejection,
)


def test_calibration_is_measured_on_new_images() -> None:
    fitted = calibrate({"made up": sample_outputs(20_000, 1, overconfident=3)}, "logits")
    new = sample_outputs(20_000, 2, overconfident=3)
    metrics = measure_calibration(fitted, "logits", new.outputs, new.truth)
    assert metrics["test_ece"] < 0.01
    for percent in (90, 95, 99):
        assert metrics[f"test_coverage_{percent}"] >= percent / 100 - 0.005
    assert 1 <= metrics["test_set_size_90"] < metrics["test_set_size_99"] < 10
    # Without temperature scaling, the overconfident network has a larger error.
    unscaled = fitted.model_copy(update={"temperature": 1.0})
    assert measure_calibration(unscaled, "logits", new.outputs, new.truth)["test_ece"] > 0.02


def test_rejection_is_measured_in_and_out_of_distribution() -> None:
    fitted = calibrate({"made up": sample_outputs(2_000, 1)}, "logits")
    known = sample_outputs(2_000, 2).outputs
    outside = np.full((50, 10), -9, dtype=np.float32)
    metrics = measure_rejection(fitted, known, outside)
    assert 0 < metrics["test_refused"] <= 0.02
    assert metrics["nothing_refused"] == 1
    assert metrics["nothing_auroc"] == 1
    assert measure_rejection(fitted, known, known)["nothing_auroc"] == pytest.approx(0.5)


def test_model_without_ood_score_has_no_rejection_metrics() -> None:
    fitted = calibrate({"a few": sample_outputs(50, 1)}, "logits")
    outputs = sample_outputs(50, 2).outputs
    assert measure_rejection(fitted, outputs, outputs) == {}


def test_cross_fitted_metrics_hold_for_few_images() -> None:
    metrics = cross_fit(sample_outputs(1_000, 1, overconfident=3), "logits")
    assert metrics["test_ece"] < 0.05
    assert metrics["test_accuracy"] < metrics["test_top5_accuracy"] <= 1
    for percent in (90, 95, 99):
        assert metrics[f"test_coverage_{percent}"] >= percent / 100 - 0.02
    assert 0 < metrics["test_refused"] < 0.03


def test_calibration_error_weighs_bins_of_equal_size() -> None:
    confidence = np.repeat(np.array([0.6, 0.9], dtype=np.float32), 50)
    correct = np.tile([True, True, True, False, False], 20)  # 60% in both halves
    assert equal_mass_ece(confidence, correct) == pytest.approx(0.15, abs=1e-6)
