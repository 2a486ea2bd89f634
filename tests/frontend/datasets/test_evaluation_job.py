"""Evaluating a served model in a job, and the confusions."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from client import Client, ModelInfo
from evaluation.errors import LabelError
from evaluation.predictors import served
from evaluation.types import Record
from frontend.datasets.dataset import Dataset, store_zip
from frontend.datasets.evaluation_job import (
    MAX_MATRIX_LABELS,
    Confusions,
    EvaluationRun,
    EvaluationTarget,
    ProgressReporter,
    duration,
    evaluate_model,
    match_dataset_labels,
    progress_text,
)
from frontend.state.jobs import Job
from tests.evaluation.predictors.fake_backend import (
    FakeResponse,
    classification_json,
    fake_backend,
    ndjson_response,
    problem_response,
)
from tests.frontend.datasets.test_dataset import SentFile
from tests.frontend.samples import MODEL
from tests.images import SEVEN, zipped

PETS = replace(MODEL, name="pets", version="3", title="Pets", labels=("cat", "dog", "owl"))


def new_job() -> Job:
    return Job(lambda _: None, lambda: 0.0)


@pytest.fixture
def pets() -> Iterator[Dataset]:
    """Return images of three cats and a dog, all of which the fake backend classifies as cats."""
    names = ["cat/a.png", "cat/b.png", "cat/c.png", "dog/d.png"]
    data = store_zip(SentFile("pets.zip", zipped(dict.fromkeys(names, SEVEN))))
    yield data
    data.close()


def predict_cats(images: list[bytes]) -> FakeResponse:
    return ndjson_response(*(classification_json() for _ in images))


def run_evaluation(
    reply: Callable[[list[bytes]], FakeResponse], data: Dataset, job: Job, model: ModelInfo = PETS
) -> EvaluationRun:
    with fake_backend(reply) as url, Client(url) as client:
        return evaluate_model(EvaluationTarget(client, None), model, data, job)


def test_predictions_are_counted_and_progress_is_reported(pets: Dataset) -> None:
    job = new_job()
    result = run_evaluation(predict_cats, pets, job)
    assert result.evaluation is not None
    assert result.evaluation.metrics is not None
    assert result.evaluation.metrics.accuracy == 0.75
    assert result.confusions.count("dog", "cat") == 1
    assert result.evaluation.source == "pets.zip"
    assert (job.done, job.total) == (4, 4)


def test_temporary_failure_of_the_backend_is_retried(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "MAX_DELAY", 0.001)
    job = new_job()
    notes: list[str] = []
    failures = 9  # more than the default attempts of the predictor

    def fail_first(images: list[bytes]) -> FakeResponse:
        notes.append(job.note)
        return (
            problem_response(503, "Starting.") if len(notes) <= failures else predict_cats(images)
        )

    result = run_evaluation(fail_first, pets, job)
    assert result.evaluation is not None
    assert result.evaluation.stopped is None
    assert not result.evaluation.failures
    assert "Waiting for the backend" in notes[-1]
    assert "Waiting" not in progress_text(job)


def test_lasting_failure_is_reported_and_the_dataset_remains(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "MAX_DELAY", 0.001)
    result = run_evaluation(lambda _: problem_response(503, "Starting."), pets, new_job())
    assert result.evaluation is None
    assert "stopped responding: Starting" in (result.error or "")
    assert result.data.thumbnail("cat/a.png") is not None


def test_missing_model_is_reported(pets: Dataset) -> None:
    result = run_evaluation(predict_cats, pets, new_job(), replace(PETS, name="birds"))
    assert "does not serve the model 'birds'" in (result.error or "")


def test_job_that_was_cancelled_before_its_start_reports_it(pets: Dataset) -> None:
    job = new_job()
    job.cancel()
    result = run_evaluation(predict_cats, pets, job)
    assert result.evaluation is not None
    assert result.evaluation.stopped == "stopped by the user"
    assert result.evaluation.metrics is None


def test_unknown_labels_are_reported_before_the_evaluation(pets: Dataset) -> None:
    match_dataset_labels(PETS, pets)
    with pytest.raises(LabelError, match="unknown to the model: 'dog'"):
        match_dataset_labels(replace(PETS, labels=("cat", "owl")), pets)


def test_progress_includes_rate_and_remaining_time() -> None:
    now = 0.0
    job = new_job()
    reporter = ProgressReporter(job, 2_000, lambda: now)
    now = 2.0
    reporter.advance(500)
    assert progress_text(job) == "500 of 2,000 images, 250 per second, about 6 s left"
    reporter.start_part()
    reporter.advance(500)
    assert job.done == 1_000


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "about 1 s"), (40, "about 40 s"), (100, "about 2 min")]
)
def test_duration_is_approximate(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def record(label: str | None, prediction: str | None, name: str = "x") -> Record:
    return Record(name, label, prediction=prediction, confidence=0.5)


def test_records_of_a_cell_are_returned() -> None:
    records = [record("7", "1", "a"), record("7", "7", "b"), record("7", "1", "c")]
    confusions = Confusions(records)
    assert [item.name for item in confusions.records("7", "1")] == ["a", "c"]
    assert confusions.count("7", "7") == 1
    assert confusions.count("1", "7") == 0
    assert not confusions.records(None, None)


def test_row_or_column_starts_with_the_mistakes() -> None:
    confusions = Confusions([record("7", "7", "a"), record("7", "1", "b"), record("1", "1", "c")])
    assert [item.name for item in confusions.records("7", None)] == ["b", "a"]
    assert [item.name for item in confusions.records(None, "1")] == ["b", "c"]


def test_records_without_label_or_prediction_are_ignored() -> None:
    assert Confusions([record(None, "1"), record("1", None)]).labels == ()


def test_labels_are_in_the_order_of_the_model() -> None:
    confusions = Confusions([record("10", "9"), record("2", "2")], order=["2", "9", "10", "11"])
    assert confusions.labels == ("2", "9", "10")


def test_mistakes_are_counted_by_label() -> None:
    confusions = Confusions(
        [record("7", "1"), record("7", "2"), record("7", "7"), record("1", "1")]
    )
    assert confusions.wrong == {"7": 2}
    assert confusions.support == {"7": 3, "1": 1}
    assert confusions.most_frequent(1) == [(("7", "1"), 1)]


def test_matrix_of_many_classes_has_the_most_confused_ones() -> None:
    order = [f"class {number}" for number in range(1000)]
    correct = [record(label, label) for label in order]
    wrong = [record("class 990", "class 3")] * 2 + [record("class 500", "class 501")]
    confusions = Confusions(correct + wrong, order)
    assert len(confusions.labels) == 1000
    assert len(confusions.displayed_labels) == MAX_MATRIX_LABELS
    assert {"class 3", "class 990", "class 500", "class 501"} <= set(confusions.displayed_labels)
    assert list(confusions.displayed_labels) == sorted(confusions.displayed_labels, key=order.index)
