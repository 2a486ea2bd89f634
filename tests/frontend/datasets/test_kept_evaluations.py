"""Evaluations in the page's store."""

from collections.abc import Iterator

import pytest

from client import Client
from evaluation.errors import SourceError
from evaluation.report import to_json_object
from frontend.datasets import kept_evaluations
from frontend.datasets.dataset import Dataset, MemoryFile, store_zip
from frontend.datasets.evaluation_job import EvaluationRun, EvaluationTarget, evaluate_model
from frontend.datasets.kept_evaluations import EVALUATION, keep_dataset
from frontend.state.jobs import Job
from tests.evaluation.predictors.fake_backend import fake_backend
from tests.frontend.datasets.test_evaluation_job import PETS, new_job, predict_cats
from tests.images import SEVEN, zipped

NAMES = [
    f"{label}/{i}.png" for label in ("cat", "dog") for i in range(30)
]  # more than the worst mistakes


@pytest.fixture
def pets() -> Iterator[Dataset]:
    data = store_zip(MemoryFile("pets.zip", zipped(dict.fromkeys(NAMES, SEVEN))))
    yield data
    data.close()


def evaluate(data: Dataset, job: Job) -> EvaluationRun:
    with fake_backend(predict_cats) as url, Client(url) as client:
        return evaluate_model(EvaluationTarget(client, None), PETS, data, job)


def test_figures_records_and_thumbnails_are_kept(pets: Dataset) -> None:
    run = evaluate(pets, new_job())
    found = EVALUATION.unpack(EVALUATION.pack(run))
    assert run.evaluation is not None
    assert found.evaluation is not None
    assert to_json_object(found.evaluation) == to_json_object(run.evaluation)
    assert found.evaluation.records == run.evaluation.records
    assert found.evaluation.mistakes == run.evaluation.mistakes
    assert (found.model, found.data.name, found.error) == (PETS, "pets.zip", None)
    assert found.confusions.count("dog", "cat") == 30
    assert found.data.thumbnail("dog/3.png") == pets.thumbnail("dog/3.png")


def test_restored_dataset_has_no_images(pets: Dataset) -> None:
    found = EVALUATION.unpack(EVALUATION.pack(evaluate(pets, new_job())))
    assert pets.has_images
    assert not found.data.has_images
    assert found.data.thumbnail("another.png") is None
    with pytest.raises(SourceError, match="expired"):
        found.data.share()
    found.close()


def test_error_is_kept(pets: Dataset) -> None:
    found = EVALUATION.unpack(EVALUATION.pack(EvaluationRun(PETS, pets, error="No backend.")))
    assert (found.evaluation, found.error) == (None, "No backend.")


def test_wrong_predictions_have_thumbnails_first(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_evaluations, "MAX_THUMBNAILS", 30)
    found = EVALUATION.unpack(EVALUATION.pack(evaluate(pets, new_job())))
    kept = {name for name in NAMES if found.data.thumbnail(name)}
    assert kept == {name for name in NAMES if name.startswith("dog")}


def test_thumbnails_are_limited_by_size_and_time(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        kept_evaluations, "MAX_THUMBNAIL_BYTES", 3 * len(pets.thumbnail(NAMES[0]) or "")
    )
    assert len(keep_dataset(pets, NAMES).thumbnails) == 3
    monkeypatch.setattr(kept_evaluations, "MAX_SECONDS", -1.0)
    assert len(keep_dataset(pets, NAMES).thumbnails) == 1


def test_evaluation_that_the_server_interrupts_says_so(pets: Dataset) -> None:
    job = new_job()
    job.interrupt()
    run = evaluate(pets, job)
    assert run.evaluation is not None
    assert run.evaluation.stopped == "the server of this page stopped"
    found = EVALUATION.unpack(EVALUATION.pack(run))
    assert found.evaluation is not None
    assert found.evaluation.stopped == run.evaluation.stopped
