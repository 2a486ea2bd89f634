"""Probabilities and thresholds of models with independent outputs, and their calibration."""

import numpy as np
import pytest
from pydantic import ValidationError

from calibration.apply import Calibration, Floats, LabelScaling, OutputError
from calibration.fit import CalibrationError
from calibration.fit_sigmoid import (
    MIN_IMAGES,
    calibrate_binary,
    calibrate_labels,
    fit_labels,
    fit_scaling,
    fit_threshold,
)
from calibration.sigmoid import ProbabilityMap, label_thresholds, sigmoid
from tests.fake_models import CALIBRATION


def rows(*values: list[float]) -> Floats:
    return np.array(values, np.float32)


def test_probabilities_of_labels_are_independent() -> None:
    shares = ProbabilityMap("multi-label", "logits")(rows([0, 0, np.log(3)]))
    np.testing.assert_allclose(shares, rows([0.5, 0.5, 0.75]), rtol=1e-6)


def test_binary_output_is_the_probability_of_the_second_label() -> None:
    shares = ProbabilityMap("binary", "probabilities")(rows([0.2], [1.0]))
    np.testing.assert_allclose(shares, rows([0.8, 0.2], [0, 1]), atol=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    np.testing.assert_array_equal(sigmoid(rows([-1e4, 1e4])), [[0, 1]])


def test_outputs_are_scaled_by_label() -> None:
    scaling = (LabelScaling(slope=2, intercept=0), LabelScaling(slope=1, intercept=1))
    calibration = Calibration(scaling=scaling, thresholds=(0.5, 0.5), pictures=1, source="x")
    shares = ProbabilityMap("multi-label", "logits", calibration)(rows([1, 1]))
    np.testing.assert_allclose(shares, sigmoid(rows([2, 2])), rtol=1e-6)


@pytest.mark.parametrize("row", [[np.nan, 0], [np.inf, 0], [-0.1, 0.5], [0.5, 1.1]])
def test_outputs_that_are_no_probabilities_raise_output_error(row: list[float]) -> None:
    with pytest.raises(OutputError):
        ProbabilityMap("multi-label", "probabilities")(rows(row))


def test_binary_model_with_two_outputs_raises_output_error() -> None:
    with pytest.raises(OutputError, match="one number"):
        ProbabilityMap("binary", "logits")(rows([0, 1]))


def test_default_threshold_is_one_half() -> None:
    np.testing.assert_array_equal(label_thresholds("multi-label", 2, None), [0.5, 0.5])
    assert label_thresholds("binary", 2, None) is None


def test_thresholds_exclude_prediction_sets() -> None:
    with pytest.raises(ValidationError, match="must be empty"):
        Calibration.model_validate(CALIBRATION | {"thresholds": [0.5]})


def draw(count: int, slope: float, intercept: float, seed: int = 0) -> tuple[Floats, np.ndarray]:
    """Return logits and labels whose probability is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, count).astype(np.float32)
    return logits, rng.random(count) < sigmoid(slope * logits + intercept)


def test_scaling_of_an_overconfident_and_shifted_output_is_found() -> None:
    scaling = fit_scaling(*draw(20_000, 0.5, -1.0))
    assert scaling.slope == pytest.approx(0.5, abs=0.03)
    assert scaling.intercept == pytest.approx(-1, abs=0.05)


def test_scaling_of_a_perfect_output_stays_finite() -> None:
    logits = np.array([-3.0] * 20 + [3.0] * 20, np.float32)
    scaling = fit_scaling(logits, logits > 0)
    assert 0.9 < sigmoid(scaling.slope * logits[-1:] + scaling.intercept)[0] < 0.99


def test_threshold_has_the_highest_f1() -> None:
    shares = np.array([0.9, 0.6, 0.4, 0.3, 0.1], np.float32)
    truth = np.array([True, False, True, True, False])
    assert fit_threshold(shares, truth) == pytest.approx(0.2)


def test_equal_probabilities_are_not_separated() -> None:
    shares = np.array([0.9, 0.5, 0.5, 0.1], np.float32)
    threshold = fit_threshold(shares, np.array([True, True, False, False]))
    assert threshold == pytest.approx(0.3)


def test_shifted_label_gets_a_better_threshold() -> None:
    logits, truth = draw(2_000, 1.0, 2.5)
    (fit,) = fit_labels(logits[:, np.newaxis] - 4, truth[:, np.newaxis], "logits")
    assert fit.f1 is not None
    assert fit.default_f1 is not None
    assert fit.f1 > fit.default_f1 + 0.1
    fresh, fresh_truth = draw(2_000, 1.0, 2.5, seed=1)
    decided = sigmoid(fit.scaling.slope * (fresh - 4) + fit.scaling.intercept) >= fit.threshold
    hits = 2 * (decided & fresh_truth).sum() / (decided.sum() + fresh_truth.sum())
    assert hits == pytest.approx(fit.f1, abs=0.03)


def test_rare_label_keeps_probabilities_and_threshold() -> None:
    truth = np.zeros((100, 1), np.bool_)
    truth[: MIN_IMAGES - 1] = True
    (fit,) = fit_labels(np.linspace(9, -9, 100, dtype=np.float32)[:, np.newaxis], truth, "logits")
    assert (fit.scaling.slope, fit.scaling.intercept, fit.threshold) == (1, 0, 0.5)
    assert fit.f1 is None
    assert calibrate_labels([fit], 100, "x").thresholds == (0.5,)


def test_binary_calibration_moves_the_decision() -> None:
    logits, truth = draw(5_000, 1.0, 0.0)
    shifted = logits[:, np.newaxis] - 3
    calibration = calibrate_binary(shifted, truth.astype(np.intp), "logits", "x")
    predicted = ProbabilityMap("binary", "logits", calibration)(shifted).argmax(1)
    assert np.mean(predicted == truth) == pytest.approx(np.mean((logits > 0) == truth), abs=0.005)
    assert set(calibration.mean_set_size) == {"0.9", "0.95", "0.99"}


def test_binary_calibration_needs_both_labels() -> None:
    with pytest.raises(CalibrationError, match="both labels"):
        calibrate_binary(rows([1], [2]), np.array([1, 1]), "logits", "x")
