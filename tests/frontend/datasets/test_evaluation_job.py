"""Measuring a served model as the work of a job."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from client import Client, ModelInfo
from evaluation.errors import LabelError
from evaluation.predictors import served
from frontend.datasets.dataset import Dataset, store_zip
from frontend.datasets.evaluation_job import (
    Backend,
    Measurement,
    Pace,
    check,
    duration,
    measure,
    progress,
)
from frontend.state.jobs import Job
from tests.evaluation.predictors.fake_backend import Reply, line, lines, problem, serving
from tests.frontend.answers import MODEL
from tests.frontend.datasets.test_dataset import Sent
from tests.labeled_images import SEVEN, zipped

PETS = replace(MODEL, name="pets", version="3", title="Pets", labels=("cat", "dog", "owl"))


def new_job() -> Job:
    return Job(lambda _: None, lambda: 0.0)


@pytest.fixture
def pets() -> Iterator[Dataset]:
    """Three cats and a dog, all of which the backend of these tests takes for cats."""
    names = ["cat/a.png", "cat/b.png", "cat/c.png", "dog/d.png"]
    data = store_zip(Sent("pets.zip", zipped(dict.fromkeys(names, SEVEN))))
    yield data
    data.close()


def cats(pictures: list[bytes]) -> Reply:
    return lines(*(line() for _ in pictures))


def measured(
    reply: Callable[[list[bytes]], Reply], data: Dataset, job: Job, model: ModelInfo = PETS
) -> Measurement:
    with serving(reply) as url, Client(url) as client:
        return measure(Backend(client, None), model, data, job)


def test_the_answers_are_counted_by_cell_and_progress_is_told(pets: Dataset) -> None:
    job = new_job()
    found = measured(cats, pets, job)
    assert found.evaluation is not None
    assert found.evaluation.metrics is not None
    assert found.evaluation.metrics.accuracy == 0.75
    assert found.confusions.count("dog", "cat") == 1
    assert found.evaluation.source == "pets.zip"
    assert (job.done, job.total) == (4, 4)


def test_a_backend_that_is_away_for_a_while_is_waited_for(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "MAX_DELAY", 0.001)
    job = new_job()
    notes: list[str] = []
    away = 9  # tries: more than the predictor makes by itself

    def starting(pictures: list[bytes]) -> Reply:
        notes.append(job.note)
        return problem(503, "Starting.") if len(notes) <= away else cats(pictures)

    found = measured(starting, pets, job)
    assert found.evaluation is not None
    assert found.evaluation.stopped is None
    assert not found.evaluation.failures
    assert "Waiting for the backend" in notes[-1]
    assert "Waiting" not in progress(job)


def test_a_backend_that_stays_away_is_told_and_the_pictures_are_kept(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "MAX_DELAY", 0.001)
    found = measured(lambda _: problem(503, "Starting."), pets, new_job())
    assert found.evaluation is None
    assert "answers no more: Starting" in (found.trouble or "")
    assert found.data.thumbnail("cat/a.png") is not None


def test_a_model_that_is_gone_is_told(pets: Dataset) -> None:
    found = measured(cats, pets, new_job(), replace(PETS, name="birds"))
    assert "serves no model 'birds'" in (found.trouble or "")


def test_work_that_was_stopped_before_it_began_says_so(pets: Dataset) -> None:
    job = new_job()
    job.cancel()
    found = measured(cats, pets, job)
    assert found.evaluation is not None
    assert found.evaluation.stopped == "it was stopped by the user"
    assert found.evaluation.metrics is None


def test_labels_that_a_model_does_not_know_are_told_before_it_is_asked(pets: Dataset) -> None:
    check(PETS, pets)
    with pytest.raises(LabelError, match="does not know these labels of the data: 'dog'"):
        check(replace(PETS, labels=("cat", "owl")), pets)


def test_the_pace_is_told_with_the_time_that_is_left() -> None:
    now = 0.0
    job = new_job()
    pace = Pace(job, 2_000, lambda: now)
    now = 2.0
    pace.advance(500)
    assert progress(job) == "500 of 2,000 pictures, 250 a second, about 6 s left"
    pace.part()
    pace.advance(500)
    assert job.done == 1_000


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "about 1 s"), (40, "about 40 s"), (100, "about 2 min")]
)
def test_a_time_to_wait_is_rough(seconds: float, said: str) -> None:
    assert duration(seconds) == said
