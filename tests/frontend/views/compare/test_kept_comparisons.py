"""Comparisons in the page's store."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from client import Client
from frontend.datasets.dataset import MemoryFile, store_zip
from frontend.datasets.evaluation_job import EvaluationTarget
from frontend.views.compare.comparison_job import ComparisonResult, evaluate_both
from frontend.views.compare.kept_comparisons import COMPARISON
from tests.evaluation.predictors.fake_backend import fake_backend
from tests.frontend.datasets.test_evaluation_job import PETS, new_job, predict_cats
from tests.images import SEVEN, zipped

NAMES = ["cat/a.png", "cat/b.png", "dog/c.png"]


@pytest.fixture
def result() -> Iterator[ComparisonResult]:
    data = store_zip(MemoryFile("pets.zip", zipped(dict.fromkeys(NAMES, SEVEN))))
    with fake_backend(predict_cats) as url, Client(url) as client:
        target = EvaluationTarget(client, None)
        yield evaluate_both((target, target), (PETS, PETS), data, [], new_job())
    data.close()


def test_comparison_is_kept_without_its_images(result: ComparisonResult) -> None:
    found = COMPARISON.unpack(COMPARISON.pack(result))
    assert result.comparison is not None
    assert found.comparison is not None
    assert (found.comparison.difference == result.comparison.difference).all()
    assert found.comparison.accuracy_difference == result.comparison.accuracy_difference
    assert [one.records for one in found.evaluations] == [one.records for one in result.evaluations]
    assert found.records == result.records
    assert found.changed_labels == result.changed_labels
    assert (found.a, found.b, found.data.name) == (PETS, PETS, "pets.zip")
    assert not found.data.has_images


def test_images_that_only_one_model_gets_right_have_thumbnails(result: ComparisonResult) -> None:
    assert result.comparison is not None
    result.comparison = replace(result.comparison, only_b=("cat/b.png",))
    found = COMPARISON.unpack(COMPARISON.pack(result))
    assert [found.data.thumbnail(name) is not None for name in NAMES] == [False, True, False]


def test_error_is_kept(result: ComparisonResult) -> None:
    failed = ComparisonResult(PETS, PETS, result.data, error="B was not evaluated.")
    found = COMPARISON.unpack(COMPARISON.pack(failed))
    assert (found.evaluations, found.comparison, found.error) == ([], None, failed.error)
