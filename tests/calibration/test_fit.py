"""Fitted calibrations hold on images that were not used for fitting."""

import numpy as np
import pytest

from calibration.apply import COVERAGES, Floats, ood_scores, prediction_sets, probabilities
from calibration.fit import (
    FALSE_OOD_RATE,
    HIGH_CONFIDENCE,
    CalibrationError,
    HeldOutOutputs,
    calibrate,
    fit_temperature,
)

CLASSES = 10


def sample_outputs(
    count: int, seed: int, overconfident: float = 1.0, sharpness: float = 4.0
) -> HeldOutOutputs:
    """Return calibrated logits multiplied by `overconfident`, and random true classes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (count, CLASSES)).astype(np.float32)
    chances = np.cumsum(probabilities(logits, "logits"), axis=1)
    truth = (rng.random((count, 1)) > chances).sum(axis=1).clip(0, CLASSES - 1)
    return HeldOutOutputs(logits * np.float32(overconfident), truth)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_corrects_overconfidence(factor: float) -> None:
    held_out = sample_outputs(20_000, 0, overconfident=factor)
    assert fit_temperature(held_out.outputs, held_out.truth, "logits") == pytest.approx(
        factor, rel=0.05
    )


def test_temperature_of_a_model_that_returns_probabilities() -> None:
    held_out = sample_outputs(20_000, 0)
    powers = probabilities(held_out.outputs * np.float32(2), "logits")
    assert fit_temperature(powers, held_out.truth, "probabilities") == pytest.approx(2, rel=0.05)


def test_few_images_without_mistakes_do_not_give_full_confidence() -> None:
    truth = np.arange(30) % CLASSES
    outputs = np.eye(CLASSES, dtype=np.float32)[truth] * np.float32(6)
    scaled = probabilities(outputs, "logits", fit_temperature(outputs, truth, "logits"))
    assert 0.9 < scaled.max() < 0.999


@pytest.mark.parametrize("coverage", COVERAGES)
def test_prediction_sets_of_new_images_reach_the_coverage(coverage: float) -> None:
    calibration = calibrate({"made up": sample_outputs(20_000, 1, overconfident=2)}, "logits")
    new = sample_outputs(20_000, 2, overconfident=2)
    scaled = probabilities(new.outputs, "logits", calibration.temperature)
    sets = prediction_sets(scaled, calibration.sets, coverage)
    covered = sets[np.arange(len(new.truth)), new.truth]
    assert covered.mean() >= coverage - 0.005
    is_unsure = scaled.max(axis=1) < HIGH_CONFIDENCE
    assert covered[is_unsure].mean() >= coverage - 0.01
    assert calibration.mean_set_size[str(coverage)] == pytest.approx(
        sets.sum(axis=1).mean(), abs=0.05
    )


def test_too_few_images_give_sets_with_every_label() -> None:
    held_out = sample_outputs(50, 3)
    calibration = calibrate({"a few": held_out}, "logits")
    sets = prediction_sets(probabilities(held_out.outputs, "logits"), calibration.sets, 0.99)
    assert sets.all()
    assert calibration.max_ood_score is None


def test_ood_limit_has_the_false_ood_rate() -> None:
    near, far = sample_outputs(4_000, 4, sharpness=6), sample_outputs(4_000, 5, sharpness=3)
    calibration = calibrate({"near": near, "far": far}, "logits")
    assert calibration.max_ood_score is not None
    scores = ood_scores(np.concatenate((near.outputs, far.outputs)))
    assert 0.9 * FALSE_OOD_RATE < (scores > calibration.max_ood_score).mean() <= FALSE_OOD_RATE
    assert "near (4,000), far (4,000)" in calibration.source


def test_ood_limit_is_fitted_to_the_chosen_method() -> None:
    held_out = sample_outputs(2_000, 4)
    calibration = calibrate({"made up": held_out}, "logits", "generalized_entropy")
    assert calibration.ood_method == "generalized_entropy"
    assert calibration.max_ood_score is not None
    scaled = probabilities(held_out.outputs, "logits", calibration.temperature)
    scores = ood_scores(held_out.outputs, scaled, "generalized_entropy")
    assert (scores > calibration.max_ood_score).mean() == pytest.approx(FALSE_OOD_RATE, abs=0.001)


def test_probabilities_give_no_ood_limit() -> None:
    held_out = sample_outputs(1_000, 6)
    outputs: Floats = probabilities(held_out.outputs, "logits")
    assert (
        calibrate(
            {"made up": HeldOutOutputs(outputs, held_out.truth)}, "probabilities"
        ).max_ood_score
        is None
    )
    logs = HeldOutOutputs(np.log(outputs), held_out.truth)
    assert calibrate({"made up": logs}, "logits").max_ood_score is None


def test_no_images_raise_calibration_error() -> None:
    with pytest.raises(CalibrationError):
        calibrate({"none": sample_outputs(0, 0)}, "logits")
