"""The figures of trust are those of the answers."""

import numpy as np
import pytest

from calibration.fit import calibrate
from tests.calibration.test_fit import drawn
from training.fit.calibration_metrics import promises, refusals


def test_promises_are_measured_on_other_pictures_than_they_were_made_with() -> None:
    fitted = calibrate({"made up": drawn(20_000, 1, overconfident=3)}, "logits")
    new = drawn(20_000, 2, overconfident=3)
    figures = promises(fitted, "logits", new.outputs, new.truth)
    assert figures["test_ece"] < 0.01
    for percent in (90, 95, 99):
        assert figures[f"test_coverage_{percent}"] >= percent / 100 - 0.005
    assert 1 <= figures["test_set_size_90"] < figures["test_set_size_99"] < 10
    # As sure as the network itself, it would be wrong much oftener than it says.
    bold = fitted.model_copy(update={"temperature": 1.0})
    assert promises(bold, "logits", new.outputs, new.truth)["test_ece"] > 0.02


def test_refusals_count_strangers_on_either_side_of_the_limit() -> None:
    fitted = calibrate({"made up": drawn(2_000, 1)}, "logits")
    known = drawn(2_000, 2).outputs
    strange = np.full((50, 10), -9, dtype=np.float32)
    figures = refusals(fitted, known, strange)
    assert 0 < figures["test_refused"] <= 0.02
    assert figures["nothing_refused"] == 1
    assert figures["nothing_auroc"] == 1
    assert refusals(fitted, known, known)["nothing_auroc"] == pytest.approx(0.5)


def test_a_model_that_cannot_tell_strangers_has_no_such_figures() -> None:
    fitted = calibrate({"a few": drawn(50, 1)}, "logits")
    outputs = drawn(50, 2).outputs
    assert refusals(fitted, outputs, outputs) == {}
