"""Tests of HTML reports: content, self-containment and escaping."""

import re

import numpy as np
import pytest

from evaluation.evaluate import evaluate
from evaluation.html import render_report
from evaluation.types import Failure, ModelOutput, Sample
from tests.evaluation.fakes import FakePredictor, gray_png, model_output, samples
from tests.evaluation.html_pages import HOSTILE, create_evaluation, render_pages


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return render_pages()


def visible_text(page: str) -> str:
    """Return the visible text of a page."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S).split())


def test_report_shows_the_metrics(pages: dict[str, str]) -> None:
    evaluation = create_evaluation(1)
    assert evaluation.metrics is not None
    text = visible_text(pages["report"])
    assert f"Accuracy {evaluation.metrics.accuracy:.2%} of 60 images" in text
    for phrase in ("Files skipped (not images): 3.", "Prediction set coverage", "Outlier AUROC",
                   "Worst mistakes", "Failed images", "Weighted average"):  # fmt: skip
        assert phrase in text
    cells = re.findall(r'<td class="(?:right|wrong)"[^>]*>(\d+)</td>', pages["report"])
    assert sum(map(int, cells)) == evaluation.metrics.count


def test_many_classes_are_listed_without_a_matrix(pages: dict[str, str]) -> None:
    assert "The most frequent confusions" in visible_text(pages["many classes"])
    assert "30 of 40 classes, those with the lowest F1" in visible_text(pages["many classes"])
    assert "The largest changes from A to B" in visible_text(pages["comparison, many classes"])


def test_intervals_are_shown(pages: dict[str, str]) -> None:
    text = visible_text(pages["report"])
    assert re.search(r"of 60 images; 95% interval: [\d.]+% to [\d.]+%", text)
    assert "95% interval of recall" in text
    difference = visible_text(pages["comparison"])
    assert re.search(r"B minus A, points −[\d.]+ 95% interval: −[\d.]+ to [+−][\d.]+", difference)


def test_matrix_shows_only_classes_that_occur() -> None:
    labels = tuple(f"class {n}" for n in range(1000))
    outputs = [model_output(*np.eye(1000)[n]) for n in (3, 3, 5)]
    names = ("class 3", "class 5", "class 5")
    page = render_report(evaluate(samples(*names), FakePredictor(outputs, labels)))
    headings = re.findall(r'<th scope="col">(class \d+)</th>', page)
    assert headings == ["class 3", "class 5"]
    assert len(page) < 300_000


def test_counts_of_one_are_singular() -> None:
    results: list[ModelOutput | Failure] = [model_output(1, 0, 0), Failure("damaged")]
    evaluation = evaluate(samples("cat", "cat"), FakePredictor(results))
    text = visible_text(render_report(evaluation))
    assert "of 1 image;" in text
    assert "1 of 2 images was not classified" in text


def test_partial_report_has_a_warning() -> None:
    evaluation = evaluate(samples("cat", "cat"), FakePredictor([model_output(1, 0, 0)]), total=2)
    assert "This report is partial: it covers 1 of 2 images (connection lost)." in visible_text(
        render_report(evaluation)
    )


def test_report_without_predictions() -> None:
    evaluation = evaluate(samples("cat"), FakePredictor([Failure("damaged")]))
    text = visible_text(render_report(evaluation))
    assert "no labeled image was classified" in text
    assert "0.png damaged" in text


def test_pages_load_no_external_resources(pages: dict[str, str]) -> None:
    for page in pages.values():
        urls = re.findall(r'\b(?:src|srcset|href|action)="([^"]*)"|url\(([^)]*)\)', page)
        assert all(first.startswith("data:") for first, _ in urls)
        assert "<script" not in page


def test_names_are_escaped() -> None:
    labels = (HOSTILE, "dog")
    model = FakePredictor([model_output(0.2, 0.8), Failure(HOSTILE)], labels)
    model.name = HOSTILE
    hostile_samples = [
        Sample(HOSTILE, gray_png(), HOSTILE),
        Sample(f"{HOSTILE}2", gray_png(), "dog"),
    ]
    page = render_report(evaluate(hostile_samples, model, source=HOSTILE))
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") > 8
