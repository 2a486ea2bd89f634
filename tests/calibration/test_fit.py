"""What is fitted to held-out pictures keeps its word on pictures that it has not seen."""

import numpy as np
import pytest

from backend.inference.types import Floats
from calibration.apply import COVERAGES, ood_scores, prediction_sets, probabilities
from calibration.fit import REFUSED, SURE, CalibrationError, HeldOutOutputs, calibrate, fit_temperature

CLASSES = 10


def drawn(count: int, seed: int, overconfident: float = 1.0, sharpness: float = 4.0) -> HeldOutOutputs:
    """Logits whose softmax would be true, made too sharp by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (count, CLASSES)).astype(np.float32)
    chances = np.cumsum(probabilities(logits, "logits"), axis=1)
    truth = (rng.random((count, 1)) > chances).sum(axis=1).clip(0, CLASSES - 1)
    return HeldOutOutputs(logits * np.float32(overconfident), truth)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_model_too_sure(factor: float) -> None:
    held = drawn(20_000, 0, overconfident=factor)
    assert fit_temperature(held.outputs, held.truth, "logits") == pytest.approx(factor, rel=0.05)


def test_a_model_that_gives_probabilities_has_a_temperature_too() -> None:
    held = drawn(20_000, 0)
    powers = probabilities(held.outputs * np.float32(2), "logits")
    assert fit_temperature(powers, held.truth, "probabilities") == pytest.approx(2, rel=0.05)


def test_a_model_without_mistakes_on_few_pictures_is_not_called_certain() -> None:
    truth = np.arange(30) % CLASSES
    outputs = np.eye(CLASSES, dtype=np.float32)[truth] * np.float32(6)
    scaled = probabilities(outputs, "logits", fit_temperature(outputs, truth, "logits"))
    assert 0.9 < scaled.max() < 0.999


@pytest.mark.parametrize("coverage", COVERAGES)
def test_sets_of_new_pictures_hold_the_truth_as_often_as_they_say(coverage: float) -> None:
    fitted = calibrate({"made up": drawn(20_000, 1, overconfident=2)}, "logits")
    new = drawn(20_000, 2, overconfident=2)
    scaled = probabilities(new.outputs, "logits", fitted.temperature)
    sets = prediction_sets(scaled, fitted.sets, coverage)
    covered = sets[np.arange(len(new.truth)), new.truth]
    assert covered.mean() >= coverage - 0.005
    unsure = scaled.max(axis=1) < SURE
    assert covered[unsure].mean() >= coverage - 0.01
    assert fitted.mean_set_size[str(coverage)] == pytest.approx(sets.sum(axis=1).mean(), abs=0.05)


def test_few_pictures_cannot_promise_much_and_then_every_label_belongs() -> None:
    held = drawn(50, 3)
    fitted = calibrate({"a few": held}, "logits")
    sets = prediction_sets(probabilities(held.outputs, "logits"), fitted.sets, 0.99)
    assert sets.all()
    assert fitted.max_ood_score is None


def test_few_pictures_of_the_models_world_are_beyond_its_limit() -> None:
    near, far = drawn(4_000, 4, sharpness=6), drawn(4_000, 5, sharpness=3)
    fitted = calibrate({"near": near, "far": far}, "logits")
    assert fitted.max_ood_score is not None
    scores = ood_scores(np.concatenate((near.outputs, far.outputs)))
    assert 0.9 * REFUSED < (scores > fitted.max_ood_score).mean() <= REFUSED
    assert "near (4,000), far (4,000)" in fitted.source


def test_probabilities_alone_do_not_tell_strangers() -> None:
    held = drawn(1_000, 6)
    outputs: Floats = probabilities(held.outputs, "logits")
    assert calibrate({"made up": HeldOutOutputs(outputs, held.truth)}, "probabilities").max_ood_score is None
    logs = HeldOutOutputs(np.log(outputs), held.truth)
    assert calibrate({"made up": logs}, "logits").max_ood_score is None


def test_nothing_is_fitted_to_no_pictures() -> None:
    with pytest.raises(CalibrationError):
        calibrate({"none": drawn(0, 0)}, "logits")
