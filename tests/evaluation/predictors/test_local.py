"""A model folder, measured as the backend would run it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from backend.inference.types import ClassificationResult, Timings
from evaluation.errors import PredictorError
from evaluation.predictors import local
from evaluation.predictors.local import LocalPredictor, find_model
from evaluation.types import Answer, Failure
from tests.conftest import ROOT
from tests.fake_models import write_model
from tests.images import encoded, noise, seven

MODELS = ROOT / "models"


@pytest.fixture(scope="module")
def model() -> Iterator[LocalPredictor]:
    with LocalPredictor(MODELS / "mnist-cnn") as predictor:
        yield predictor


def test_it_answers_in_order_and_bad_pictures_fail_alone(model: LocalPredictor) -> None:
    contents = [encoded(seven()), b"no picture", encoded(noise(64, 64)), b""] * 40
    answers = list(model(iter(contents)))
    assert len(answers) == 160
    for at in range(0, 160, 4):
        first, broken, other, empty = answers[at : at + 4]
        assert isinstance(first, Answer)
        assert isinstance(other, Answer)
        assert model.labels[int(first.probabilities.argmax())] == "7"
        assert isinstance(broken, Failure)
        assert isinstance(empty, Failure)
        assert "image" in broken.reason or "picture" in broken.reason


def test_its_probabilities_are_the_services(model: LocalPredictor, backend_url: str) -> None:
    content = encoded(seven(90))
    served = httpx.post(f"{backend_url}/classify", files={"file": content}).json()
    (answer,) = model(iter([content]))
    assert isinstance(answer, Answer)
    assert answer.probabilities == pytest.approx(np.array(served["probabilities"]), abs=1e-6)
    assert answer.probabilities.dtype == np.float32
    assert 0 < answer.seconds < 10
    assert (model.name, model.version) == ("mnist-cnn", served["model"]["version"])


def test_few_pictures_are_taken_ahead(
    model: LocalPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def contents() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(500):
            taken += 1
            yield encoded(seven(40))

    answers = model(contents())
    next(answers)
    assert taken <= local.IN_FLIGHT
    monkeypatch.setattr(local, "IN_FLIGHT_BYTES", 1)
    for answered, _ in enumerate(answers, 2):
        if answered > local.IN_FLIGHT + 2:
            assert taken <= answered + 1
    assert taken == 500


def test_a_name_is_a_folder_among_the_models_or_a_path(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mine")
    assert find_model("mine", tmp_path) == folder
    assert find_model(str(folder), Path("nowhere")) == folder
    with pytest.raises(PredictorError, match=r"'yours' is no model folder; .* holds mine"):
        find_model("yours", tmp_path)
    with pytest.raises(PredictorError, match="nowhere holds no model folder"):
        find_model("yours", Path("nowhere"))


def test_a_damaged_model_is_told_in_a_line(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "mine")
    with pytest.raises(PredictorError, match="mine"):
        LocalPredictor(folder)
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(PredictorError, match="SHA-256 differs"):
        LocalPredictor(folder)


@pytest.mark.parametrize(("coverage", "size"), [(0.9, 1), (0.99, 2)])
def test_what_a_calibrated_model_says_is_handed_on(coverage: float, size: int) -> None:
    said = ClassificationResult(
        ("a", "b"),
        np.array([0.1, 0.9], np.float32),
        np.array([1, 0]),
        Timings(1.0, 500.0, 2.0),
        ood_score=4.5,
        in_distribution=False,
        set_size=lambda _, wanted: 2 if wanted == 0.99 else 1,
    )
    found = local._answer(said, coverage)
    assert found.prediction_set == ("b", "a")[:size]
    assert found.coverage == coverage
    assert (found.in_distribution, found.ood_score) == (False, 4.5)
    assert found.seconds == pytest.approx(0.003)  # waiting is not the model's time


def test_a_model_that_is_not_calibrated_promises_nothing() -> None:
    plain = ClassificationResult(("a", "b"), np.array([1, 0], np.float32), np.arange(2), Timings(1, 0, 2))
    found = local._answer(plain, 0.95)
    assert (found.prediction_set, found.coverage, found.in_distribution) == (None, None, None)
