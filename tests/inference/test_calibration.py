"""Outputs become probabilities."""

import numpy as np
import pytest

from backend.inference.calibration import probabilities
from backend.inference.errors import InferenceError


def test_logits_go_through_the_softmax() -> None:
    result = probabilities(np.log(np.array([[1, 2, 5]], dtype=np.float32)), "logits")
    np.testing.assert_allclose(result, [[0.125, 0.25, 0.625]], rtol=1e-6)


def test_log_probabilities_stay_as_they_are() -> None:
    logs = np.log(np.array([[0.2, 0.3, 0.5]], dtype=np.float32))
    np.testing.assert_allclose(probabilities(logs, "logits"), np.exp(logs), rtol=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    result = probabilities(np.array([[1e4, 0]], dtype=np.float32), "logits")
    np.testing.assert_array_equal(result, [[1, 0]])


def test_probabilities_are_only_brought_to_the_sum_of_one() -> None:
    result = probabilities(np.array([[1, 1, 2]], dtype=np.float32), "probabilities")
    np.testing.assert_allclose(result, [[0.25, 0.25, 0.5]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(InferenceError, match="not finite"):
        probabilities(np.array([[0, bad]], dtype=np.float32), "logits")


@pytest.mark.parametrize("row", [[0, 0], [-1, 2]])
def test_what_cannot_be_probabilities_is_an_error(row: list[float]) -> None:
    with pytest.raises(InferenceError, match="no probabilities"):
        probabilities(np.array([row], dtype=np.float32), "probabilities")
