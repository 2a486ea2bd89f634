"""The job that evaluates and compares two models."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from client import Client
from evaluation.errors import LabelError
from frontend.datasets.dataset import Dataset, store_zip
from frontend.datasets.evaluation_job import EvaluationTarget
from frontend.views.compare.comparison_job import (
    ComparisonResult,
    check_both,
    describe_label_difference,
    evaluate_both,
)
from tests.evaluation.predictors.fake_backend import (
    FakeResponse,
    classification_json,
    fake_backend,
    ndjson_response,
)
from tests.frontend.datasets.test_dataset import SentFile
from tests.frontend.datasets.test_evaluation_job import PETS, new_job
from tests.frontend.views.compare.test_report import compare_predictions
from tests.images import SEVEN, zipped


@pytest.fixture
def pets() -> Iterator[Dataset]:
    names = ["cat/a.png", "cat/b.png", "dog/c.png"]
    data = store_zip(SentFile("pets.zip", zipped(dict.fromkeys(names, SEVEN))))
    yield data
    data.close()


def test_two_models_are_evaluated_on_the_same_images(pets: Dataset) -> None:
    def reply(images: list[bytes]) -> FakeResponse:
        return ndjson_response(*(classification_json() for _ in images))

    job = new_job()
    with fake_backend(reply) as url, Client(url) as client:
        backend = EvaluationTarget(client, None)
        result = evaluate_both((backend, backend), (PETS, PETS), pets, [], job)
    assert result.comparison is not None
    assert result.comparison.image_count == 3
    assert (job.done, job.total) == (6, 6)
    reused = evaluate_both((backend, backend), (PETS, PETS), pets, result.evaluations, new_job())
    assert reused.comparison is not None  # without requests: the backend has stopped


def test_matrix_of_few_labels_has_all_of_them() -> None:
    changed = compare_predictions("ccc", "cdc")
    result = ComparisonResult(PETS, PETS, None, comparison=changed)  # type: ignore[arg-type]
    assert result.changed_labels == ("cat", "dog", "owl")
    equal = compare_predictions("cd", "cd")
    result = ComparisonResult(PETS, PETS, None, comparison=equal)  # type: ignore[arg-type]
    assert result.changed_labels == ()


def test_labels_of_only_one_model_are_listed() -> None:
    birds = replace(PETS, title="Birds", labels=("owl", "tit", "rook", "wren", "jay"))
    assert describe_label_difference(PETS, PETS) is None
    text = describe_label_difference(PETS, birds) or ""
    assert "Only Pets has “cat”, “dog”." in text
    assert "Only Birds has “jay”, “rook”, “tit” and 1 more." in text


def test_label_error_names_the_model(pets: Dataset) -> None:
    with pytest.raises(LabelError, match=r"Birds: .*label"):
        check_both((PETS, replace(PETS, title="Birds", labels=("owl",))), pets)
