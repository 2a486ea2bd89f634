"""Calibrated probabilities, prediction sets and out-of-distribution scores."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from calibration.apply import (
    COVERAGES,
    Calibration,
    Floats,
    OutputError,
    SetSize,
    SetThreshold,
    feature_distances,
    normalize,
    ood_scores,
    prediction_sets,
    probabilities,
)
from tests.fake_models import CALIBRATION


def rows(*values: list[float]) -> Floats:
    return np.array(values, dtype=np.float32)


def test_logits_go_through_the_softmax() -> None:
    result = probabilities(np.log(np.array([[1, 2, 5]], dtype=np.float32)), "logits")
    np.testing.assert_allclose(result, [[0.125, 0.25, 0.625]], rtol=1e-6)


def test_log_probabilities_are_unchanged() -> None:
    logs = np.log(np.array([[0.2, 0.3, 0.5]], dtype=np.float32))
    np.testing.assert_allclose(probabilities(logs, "logits"), np.exp(logs), rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1, 2])
def test_huge_logits_do_not_overflow(temperature: float) -> None:
    result = probabilities(rows([1e4, 0]), "logits", temperature)
    np.testing.assert_array_equal(result, [[1, 0]])


def test_probabilities_are_normalized() -> None:
    result = probabilities(np.array([[1, 1, 2]], dtype=np.float32), "probabilities")
    np.testing.assert_allclose(result, [[0.25, 0.25, 0.5]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_raise_output_error(bad: float) -> None:
    with pytest.raises(OutputError, match="not finite"):
        probabilities(np.array([[0, bad]], dtype=np.float32), "logits")


@pytest.mark.parametrize("row", [[0, 0], [-1, 2]])
def test_invalid_probabilities_raise_output_error(row: list[float]) -> None:
    with pytest.raises(OutputError, match="not probabilities"):
        probabilities(np.array([row], dtype=np.float32), "probabilities")


@pytest.mark.parametrize(
    ("temperature", "odds"), [(2, (2, 1, 1)), (1, (4, 1, 1)), (0.5, (16, 1, 1))]
)
def test_temperature_lowers_or_raises_the_confidence(
    temperature: float, odds: tuple[float, ...]
) -> None:
    likely = rows([4 / 6, 1 / 6, 1 / 6])
    logits: Floats = np.log(likely) + 3
    for result in (
        probabilities(logits, "logits", temperature),
        probabilities(likely, "probabilities", temperature),
    ):
        np.testing.assert_allclose(result[0] * sum(odds), odds, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_extreme_temperatures_return_probabilities(kind: Any, temperature: float) -> None:
    outputs = np.random.default_rng(0).uniform(0, 1e-3, (3, 1000)).astype(np.float32)
    result = probabilities(outputs, kind, temperature)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-4)
    first = outputs.argmax(axis=1)
    np.testing.assert_array_equal(result[range(3), first], result.max(axis=1))


def test_ood_score_is_the_free_energy_of_the_logits() -> None:
    logits = np.array([[0, 0], [3, -1], [1e4, 0]], dtype=np.float32)
    expected = [-np.log(2), -np.log(np.exp(3) + np.exp(-1)), -1e4]
    np.testing.assert_allclose(ood_scores(logits), expected, rtol=1e-6)


def test_generalized_entropy_is_the_sum_over_the_largest_probabilities() -> None:
    scaled = np.full((1, 1000), 0.1 / 900, dtype=np.float32)
    scaled[0, :100] = 0.9 / 100
    scores = ood_scores(scaled, scaled, "generalized_entropy")
    np.testing.assert_allclose(scores, [100 * (0.009 * 0.991) ** 0.1], rtol=1e-5)
    certain = np.eye(10, dtype=np.float32)
    assert ood_scores(certain, certain, "generalized_entropy").tolist() == [0.0] * 10


def thresholds(*groups: tuple[float, float]) -> tuple[SetThreshold, ...]:
    """Return thresholds of coverage 0.9 from pairs (min_confidence, min_probability)."""
    return tuple(SetThreshold(coverage=0.9, min_confidence=c, min_probability=p) for c, p in groups)


def labels(probabilities: Floats, sets: tuple[SetThreshold, ...]) -> list[list[int]]:
    """Return the indices in each set; check that SetSize agrees with prediction_sets."""
    mask = prediction_sets(probabilities, sets, 0.9)
    size = SetSize(sets)
    assert [size(row, 0.9) for row in probabilities] == mask.sum(axis=1).tolist()
    return [np.flatnonzero(row).tolist() for row in mask]


def test_set_has_labels_that_reach_the_threshold() -> None:
    scores = rows([0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4])
    assert labels(scores, thresholds((0, 0.3))) == [[0, 1], [2], [0, 1, 2]]


def test_set_is_never_empty() -> None:
    scores = rows([0.6, 0.3, 0.1], [1, 0, 0], [0.3, 0.4, 0.3])
    assert labels(scores, thresholds((0, 1))) == [[0], [0], [1]]


def test_highest_reached_min_confidence_applies() -> None:
    sets = thresholds((0.5, 0.3), (0, 0.1), (0.9, 0.02))
    scores = rows([0.4, 0.3, 0.15, 0.15], [0.5, 0.3, 0.15, 0.05], [0.9, 0.05, 0.03, 0.02])
    assert labels(scores, sets) == [[0, 1, 2, 3], [0, 1], [0, 1, 2, 3]]


def test_coverage_without_thresholds_raises_value_error() -> None:
    sets = thresholds((0, 0.3))
    for call in (
        lambda: SetSize(sets)(rows([1])[0], 0.5),
        lambda: prediction_sets(rows([1]), sets, 0.5),
    ):
        with pytest.raises(ValueError, match=r"coverage of 0\.5"):
            call()


def test_set_size_agrees_with_prediction_sets() -> None:
    random = np.random.default_rng(0)
    logits = (random.normal(size=(500, 10)) * 3).astype(np.float32)
    scores = probabilities(logits, "logits", 1.3)
    calibration = Calibration.model_validate(CALIBRATION)
    size = SetSize(calibration.sets)
    sizes_found = set()
    for coverage in COVERAGES:
        sizes = prediction_sets(scores, calibration.sets, coverage).sum(axis=1)
        assert [size(row, coverage) for row in scores] == sizes.tolist()
        sizes_found |= set(sizes.tolist())
    assert min(sizes_found) == 1
    assert len(sizes_found) > 2


def test_set_size_with_a_thousand_classes() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 1000)).astype(np.float32)
    scores = probabilities(logits, "logits")
    # The threshold is the tenth largest probability, which is included.
    floor = float(np.sort(scores[0])[-10])
    assert SetSize(thresholds((0, floor)))(scores[0], 0.9) == 10


def test_calibration_survives_json() -> None:
    calibration = Calibration.model_validate(CALIBRATION)
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


SETS = CALIBRATION["sets"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_ood_score": float("nan")}, "max_ood_score"),
        ({"pictures": 0}, "pictures"),
        ({"surprise": 1}, "surprise"),
        ({"sets": []}, "coverage 0.9, min_confidence 0"),
        ({"sets": SETS[:-1]}, "coverage 0.99, min_confidence 0"),
        ({"sets": [*SETS, SETS[0]]}, "two thresholds"),
        ({"sets": [*SETS, SETS[0] | {"coverage": 0.5}]}, "0.5, which is none of"),
        ({"sets": [*SETS, SETS[0] | {"min_confidence": 1.5}]}, "min_confidence"),
        ({"mean_set_size": {"0.9": 1.0}}, "mean_set_size"),
    ],
)
def test_invalid_calibration_raises_validation_error(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Calibration.model_validate(CALIBRATION | fields)


def test_normalized_features_have_the_norm_one_or_are_zero() -> None:
    result = normalize(rows([3, 4], [0, 0], [1e-3, 0]))
    np.testing.assert_allclose(result, rows([0.6, 0.8], [0, 0], [1, 0]))
    assert result.dtype == np.float32


def test_feature_distance_is_one_minus_the_cosine_of_the_nearest_center() -> None:
    centers = rows([1, 0], [0.6, 0.8])
    result = feature_distances(rows([0.6, 0.8], [0, 1], [-1, 0]), centers)
    np.testing.assert_allclose(result, [0, 0.2, 1.6], atol=1e-6)


def test_feature_distance_is_measured_at_the_origin() -> None:
    origin = np.array([1, 1], np.float32)
    result = feature_distances(rows([1, 0], [0, 1]), rows([0, -1]), origin)
    np.testing.assert_allclose(result, [0, 1], atol=1e-6)


def test_feature_distance_does_not_come_from_logits() -> None:
    with pytest.raises(ValueError, match="requires features"):
        ood_scores(rows([1, 2]), method="feature_distance")
