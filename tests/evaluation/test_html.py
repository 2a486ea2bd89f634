"""Tests of HTML reports: content, self-containment and accessibility."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from evaluation.compare import Comparison, ModelRecords, compare
from evaluation.evaluate import evaluate
from evaluation.html import render_comparison, render_report
from evaluation.results import Evaluation
from evaluation.thumbnails import create_thumbnail_uri
from evaluation.types import Failure, Sample
from tests.e2e.conftest import browser  # noqa: F401 (a fixture)
from tests.evaluation.fakes import LABELS, FakePredictor, gray_png, model_output, samples

LOCAL = {"file:", "data:"}
HOSTILE = '<script>alert("1")</script>'


def create_evaluation(seed: int, labels: tuple[str, ...] = LABELS, count: int = 60) -> Evaluation:
    """Evaluate a mostly correct model with prediction sets, outliers and a failure."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(labels), count)
    rows = np.eye(len(labels))[truth] + rng.random((count, len(labels))) * 1.5
    fields = {"coverage": 0.95, "in_distribution": False}
    outputs = [
        model_output(
            *row / row.sum(), prediction_set=(labels[0],), ood_score=rng.normal(), **fields
        )
        for row in rows
    ]
    outliers = [model_output(*rows[0] / rows[0].sum(), ood_score=5.0, **fields)] * 2
    model = FakePredictor([*outputs, Failure(f"damaged {HOSTILE}"), *outliers], labels)
    names = [*(labels[index] for index in truth), labels[0]]
    return evaluate(
        samples(*names), model, source=f"set {HOSTILE}", notes=["files skipped (not images): 3"],
        outliers=samples(None, None), outlier_source="walls",
    )  # fmt: skip


def visible_text(page: str) -> str:
    """Return the visible text of a page."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S).split())


def create_comparison(labels: tuple[str, ...] = LABELS) -> Comparison:
    sides = [
        ModelRecords(name, labels, create_evaluation(seed, labels).records)
        for name, seed in (("first", 1), (HOSTILE, 1))
    ]
    rng = np.random.default_rng(0)
    changed = tuple(
        one if rng.random() < 0.7 or one.error else type(one)(one.name, one.label, labels[0])
        for one in sides[1].records
    )
    return compare(
        sides[0],
        ModelRecords(HOSTILE, labels, changed),
        lambda name: create_thumbnail_uri(gray_png(len(name))),
    )


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    many = tuple(f"class {n}" for n in range(40))
    return {
        "report": render_report(create_evaluation(1)),
        "many classes": render_report(create_evaluation(2, many, 200)),
        "comparison": render_comparison(create_comparison()),
        "comparison, many classes": render_comparison(create_comparison(many)),
    }


def test_report_shows_the_metrics(pages: dict[str, str]) -> None:
    evaluation = create_evaluation(1)
    assert evaluation.metrics is not None
    text = visible_text(pages["report"])
    assert f"Accuracy {evaluation.metrics.accuracy:.2%} of 60 images" in text
    for phrase in ("Files skipped (not images): 3.", "Coverage of sets", "Outlier AUROC",
                   "Worst mistakes", "Failed images", "Weighted average"):  # fmt: skip
        assert phrase in text
    cells = re.findall(r'<td class="(?:right|wrong)"[^>]*>(\d+)</td>', pages["report"])
    assert sum(map(int, cells)) == evaluation.metrics.count


def test_many_classes_are_listed_without_a_matrix(pages: dict[str, str]) -> None:
    assert "The most frequent confusions" in visible_text(pages["many classes"])
    assert "30 of 40 classes, those with the lowest F1" in visible_text(pages["many classes"])
    assert "The largest changes from A to B" in visible_text(pages["comparison, many classes"])


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


@pytest.fixture
def browser_page(browser: Browser, tmp_path: Path) -> Iterator[Page]:  # noqa: F811
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on(
        "request",
        lambda request: problems.append(request.url) if request.url[:5] not in LOCAL else None,
    )
    yield page
    context.close()
    assert problems == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["report", "many classes", "comparison", "comparison, many classes"]
)
def test_page_is_accessible_and_fits_a_phone(
    browser_page: Page, pages: dict[str, str], tmp_path: Path, name: str, scheme: str
) -> None:
    (tmp_path / "page.html").write_text(pages[name], encoding="utf-8")
    browser_page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    browser_page.goto((tmp_path / "page.html").as_uri())
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    results = Axe().run(browser_page, options=rules)
    assert results.violations_count == 0, results.generate_report()
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 360
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert browser_page.evaluate(broken) == 0
