"""An alternative is used only if it is faster and gives the same answers."""

from collections.abc import Callable

import numpy as np
import pytest

from backend.inference import comparison
from backend.inference.comparison import Comparison, compare, compare_answers
from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.runtimes import Alternative, Runtime
from backend.inference.types import Floats
from tests.fake_models import CALIBRATION

INPUTS = [np.full(1, index, dtype=np.float32) for index in range(200)]


class Network:
    """Maps inputs to logits (N, 2) by `logits`, which gets the index of an input."""

    name = "network"
    concurrent = True

    def __init__(self, logits: Callable[[int], tuple[float, float]]) -> None:
        self._logits = logits

    def __call__(self, batch: Floats) -> Floats:
        return np.array([self._logits(int(row[0])) for row in batch], dtype=np.float32)


REFERENCE = Network(lambda _: (9, 0))


def manifest(*, is_calibrated: bool = True) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "network",
            "version": "1",
            "architecture": "onnx",
            "labels": ("a", "b"),
            "preprocess": PhotoPreprocess(),
            "calibration": CALIBRATION if is_calibrated else None,
            "files": {},
        }
    )


def compare_with(other: Runtime, speed: float = 2.0, threads: int = 2) -> Comparison:
    alternative = Alternative("onnx", "int8", lambda *, threads: other)
    return compare(alternative, manifest(), REFERENCE, INPUTS, lambda *_: speed, threads=threads)


def test_same_answers_and_faster_is_used() -> None:
    result = compare_with(Network(lambda _: (9, 0)), speed=1.5)
    assert result.used
    assert (result.agreement, result.confidence_difference, result.speed) == (1, 0, 1.5)
    assert result.in_distribution_agreement == 1
    assert result.reason == "Its answers agree, and it is 1.50 times as fast."


@pytest.mark.parametrize(("speed", "used"), [(1.19, False), (1.2, True)])
def test_alternative_must_be_a_fifth_faster(speed: float, used: bool) -> None:
    result = compare_with(Network(lambda _: (9, 0)), speed)
    assert result.used is used
    assert ("less than 1.2 times" in result.reason) is not used


@pytest.mark.parametrize(("different", "used"), [(2, True), (3, False)])
def test_99_percent_of_the_labels_must_agree(different: int, used: bool) -> None:
    result = compare_with(Network(lambda i: (0, 9) if i < different else (9, 0)))
    assert result.used is used
    assert result.agreement == 1 - different / 200
    if not used:
        assert "same label to 98.5% of the generated images" in result.reason
        assert result.speed is None


def test_in_distribution_verdicts_must_agree() -> None:
    result = compare_with(Network(lambda i: (9, 0) if i > 2 else (0.5, 0)))
    assert not result.used
    assert "98.5% of the generated images are in distribution" in result.reason


def test_confidence_must_agree() -> None:
    result = compare_with(Network(lambda _: (5.5, 0)))
    assert not result.used
    assert result.agreement == 1
    assert "confidence differs by 0.02" in result.reason


def test_model_without_calibration_has_no_verdicts() -> None:
    agreement = compare_answers(manifest(is_calibrated=False), REFERENCE, REFERENCE, INPUTS)
    assert agreement.verdicts is None
    assert agreement.labels == 1


@pytest.mark.parametrize("error", [ArtifactError("damaged"), InferenceError("fails")])
def test_alternative_that_fails_is_not_used(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: int) -> tuple[float, float]:
        raise error

    result = compare_with(Network(fail))
    assert not result.used
    assert "cannot be loaded or run" in result.reason
    assert str(error) in caplog.text


def test_alternative_without_features_is_not_used() -> None:
    class Backbone(Network):
        has_features = True

        def features(self, batch: Floats) -> tuple[Floats, Floats]:
            return self(batch), batch

    backbone = Backbone(lambda _: (9, 0))
    for other, used in ((Network(lambda _: (9, 0)), False), (backbone, True)):
        alternative = Alternative("onnx", "int8", lambda *, threads, other=other: other)
        found = compare(alternative, manifest(), backbone, INPUTS, lambda *_: 2, threads=1)
        assert found.used == used, found.reason


def test_single_thread_loads_no_second_network() -> None:
    loaded: list[int] = []

    def load(*, threads: int) -> Network:
        loaded.append(threads)
        return REFERENCE

    for threads in (1, 2):
        compare(
            Alternative("onnx", "int8", load), manifest(), REFERENCE, INPUTS, lambda *_: 2.0,
            threads=threads,
        )  # fmt: skip
    assert loaded == [1, 2, 1]


def test_only_the_fastest_alternative_is_used() -> None:
    results = [
        Comparison(runtime="onnx", precision="int8", used=True, reason="", speed=1.4),
        Comparison(runtime="openvino", precision="int8", used=True, reason="", speed=1.9),
        Comparison(runtime="openvino", precision="fp32", used=False, reason="Slow."),
    ]
    chosen = comparison.choose(results)
    assert [each.used for each in chosen] == [False, True, False]
    assert chosen[0].reason == "Another alternative is faster."
    assert chosen[2].reason == "Slow."
