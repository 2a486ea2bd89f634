"""Results as a table, CSV and JSON."""

import csv
import io
import json
from dataclasses import replace

import pytest

from client import BackendError, ModelRef
from frontend.service.predictions import ImageFile
from frontend.views.classify import results_table
from frontend.views.classify.results_table import Result
from tests.frontend.samples import make_classification

CONFIDENT_OUTCOME = make_classification(("7", 0.998), ("1", 0.002), id="A")
CONFIDENT = Result(ImageFile("a.png", b"a"), CONFIDENT_OUTCOME)
UNLABELED = Result(CONFIDENT.image, replace(CONFIDENT_OUTCOME, labels=()))
UNCERTAIN = Result(
    ImageFile("b.png", b"b"), make_classification(("7", 0.6), ("1", 0.4), id="B"), "1"
)
OUT_OF_DISTRIBUTION = Result(
    ImageFile("c.png", b"c"), make_classification(("8", 0.99), in_distribution=False)
)
FAILED = Result(ImageFile("d.png", b"d"), BackendError(status=415))
CRASHED = Result(ImageFile("e.png", b"e"), BackendError(status=500, code="inference_failed"))
ALL = [CONFIDENT, UNCERTAIN, OUT_OF_DISTRIBUTION, FAILED]


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_results_have_a_category() -> None:
    assert [result.category for result in ALL] == [
        "confident",
        "uncertain",
        "out_of_distribution",
        "failed",
    ]


def test_images_without_an_outcome_are_not_collected() -> None:
    images = [CONFIDENT.image, UNCERTAIN.image, FAILED.image]
    results = results_table.collect(images, [CONFIDENT.outcome, None, FAILED.outcome], {"A": "1"})
    assert results == [Result(CONFIDENT.image, CONFIDENT.outcome, "1"), FAILED]


def test_csv_has_a_row_per_image() -> None:
    confident, uncertain, out_of_distribution, failed = table(results_table.as_csv(ALL))
    assert confident == {
        "name": "a.png",
        "prediction": "7",
        "confidence": "0.998",
        "confidence level": "very high",
        "in distribution": "",
        "model": "mnist-cnn",
        "correction": "",
        "error": "",
    }
    assert (uncertain["confidence level"], uncertain["correction"]) == ("medium", "1")
    rejected = {name for name, value in out_of_distribution.items() if value == ""}
    assert rejected == {"prediction", "confidence", "confidence level", "correction", "error"}
    assert out_of_distribution["in distribution"] == "no"
    assert failed["error"].startswith("This file is not a supported image.")


def test_formulas_are_escaped() -> None:
    names = ("=1+1.png", "+a", "-a", "@a", "\ta", "\ra")
    results = [
        Result(ImageFile(name, b""), make_classification((f"={name}", 0.5))) for name in names
    ]
    for row in [*table(results_table.as_csv(results)), *results_table.rows(results)]:
        assert row["name"].startswith("'")
        assert row["prediction"].startswith("'=")


def test_json_has_an_object_per_image() -> None:
    confident, uncertain, rejected, failed = json.loads(results_table.as_json(ALL))
    assert (confident["filename"], confident["prediction"], confident["confidence"]) == (
        "a.png",
        "7",
        0.998,
    )
    assert confident["top"][1] == {"label": "1", "index": 1, "probability": 0.002}
    assert confident["model"] == {"name": "mnist-cnn", "version": "1"}
    assert uncertain["correction"] == "1"
    assert (rejected["prediction"], rejected["confidence"]) == (None, None)
    assert rejected["in_distribution"] is False
    assert rejected["top"][0]["label"] == "8"
    assert failed == {
        "filename": "d.png",
        "problem": "This file is not a supported image.",
    }


def test_file_names_with_surrogates_are_exported() -> None:
    results = [Result(ImageFile("\udcff.png", b""), make_classification(("7", 0.9)))]
    assert table(results_table.as_csv(results))[0]["name"] == "?.png"
    assert json.loads(results_table.as_json(results))[0]["filename"] == "\udcff.png"


def test_empty_and_uniform_columns_are_hidden() -> None:
    always = ["name", "prediction", "confidence", "confidence level"]
    assert results_table.informative_columns([CONFIDENT]) == always
    assert results_table.informative_columns([FAILED]) == ["name", "error"]
    assert results_table.informative_columns([CONFIDENT, OUT_OF_DISTRIBUTION]) == [
        *always,
        "in distribution",
    ]
    by_photos = replace(CONFIDENT_OUTCOME, model=ModelRef("photos", "1"))
    other = Result(CONFIDENT.image, by_photos)
    assert results_table.informative_columns([CONFIDENT, other]) == [*always, "model"]


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([CONFIDENT], "1 image: 1 recognized."),
        (ALL, "4 images: 2 recognized, 1 not of the model's classes, 1 unreadable."),
        ([CONFIDENT, UNLABELED], "2 images: 1 recognized, 1 without a label."),
        ([FAILED, CRASHED], "2 images: 0 recognized, 1 unreadable, 1 failed."),
    ],
)
def test_summary_counts_the_outcomes(results: list[Result], text: str) -> None:
    assert results_table.summary(results) == text
