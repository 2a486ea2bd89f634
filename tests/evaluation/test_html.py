"""The page of a report: what it says, that it opens alone, and for everybody."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from evaluation.compare import Comparison, Measured, compare
from evaluation.evaluate import evaluate
from evaluation.html import render, render_comparison
from evaluation.results import Evaluation
from evaluation.thumbnails import thumbnail
from evaluation.types import Failure, Sample
from tests.e2e.conftest import browser  # noqa: F401 (a fixture)
from tests.evaluation.fakes import LABELS, Scripted, answer, gray, samples

LOCAL = {"file:", "data:"}
HOSTILE = '<script>alert("1")</script>'


def noisy(seed: int, labels: tuple[str, ...] = LABELS, count: int = 60) -> Evaluation:
    """A model that is right most of the time, with sets, flags, outliers and failures."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(labels), count)
    rows = np.eye(len(labels))[truth] + rng.random((count, len(labels))) * 1.5
    said = {"coverage": 0.95, "in_distribution": False}
    answers = [
        answer(*row / row.sum(), prediction_set=(labels[0],), ood_score=rng.normal(), **said)
        for row in rows
    ]
    outliers = [answer(*rows[0] / rows[0].sum(), ood_score=5.0, **said)] * 2
    model = Scripted([*answers, Failure(f"damaged {HOSTILE}"), *outliers], labels)
    names = [*(labels[at] for at in truth), labels[0]]
    return evaluate(
        samples(*names), model, source=f"set {HOSTILE}", notes=["files left out, not pictures: 3"],
        outliers=samples(None, None), outlier_source="walls",
    )  # fmt: skip


def text(page: str) -> str:
    """The words of a page."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S).split())


def compared(labels: tuple[str, ...] = LABELS) -> Comparison:
    sides = [
        Measured(name, labels, noisy(seed, labels).records)
        for name, seed in (("first", 1), (HOSTILE, 1))
    ]
    rng = np.random.default_rng(0)
    changed = tuple(
        one if rng.random() < 0.7 or one.error else type(one)(one.name, one.label, labels[0])
        for one in sides[1].records
    )
    return compare(
        sides[0], Measured(HOSTILE, labels, changed), lambda name: thumbnail(gray(len(name)))
    )


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    many = tuple(f"class {n}" for n in range(40))
    return {
        "report": render(noisy(1)),
        "many classes": render(noisy(2, many, 200)),
        "comparison": render_comparison(compared()),
        "comparison of many": render_comparison(compared(many)),
    }


def test_the_figures_stand_there(pages: dict[str, str]) -> None:
    found = noisy(1)
    assert found.metrics is not None
    words = text(pages["report"])
    assert f"Accuracy {found.metrics.accuracy * 100:.2f} % of 60 pictures" in words
    for phrase in ("files left out, not pictures: 3.", "Coverage of sets", "Outliers, AUROC",
                   "The worst mistakes", "Without an answer", "Mean by pictures"):  # fmt: skip
        assert phrase in words
    cells = re.findall(r'<td class="(?:right|wrong)"[^>]*>(\d+)</td>', pages["report"])
    assert sum(map(int, cells)) == found.metrics.count


def test_many_classes_become_lists(pages: dict[str, str]) -> None:
    assert "The most frequent of all confusions" in text(pages["many classes"])
    assert "the 30 with the smallest F1" in text(pages["many classes"])
    assert "The largest changes from A to B" in text(pages["comparison of many"])


def test_a_partial_report_says_so() -> None:
    found = evaluate(samples("cat", "cat"), Scripted([answer(1, 0, 0)]), total=2)
    assert "This report is partial: 1 of 2 pictures were measured; the machine has gone" in text(
        render(found)
    )


def test_a_report_without_a_single_answer_is_written() -> None:
    words = text(render(evaluate(samples("cat"), Scripted([Failure("damaged")]))))
    assert "there is nothing to measure" in words
    assert "0.png damaged" in words


def test_nothing_is_loaded_from_elsewhere(pages: dict[str, str]) -> None:
    for page in pages.values():
        addresses = re.findall(r'\b(?:src|srcset|href|action)="([^"]*)"|url\(([^)]*)\)', page)
        assert all(first.startswith("data:") for first, _ in addresses)
        assert "<script" not in page


def test_names_of_files_labels_and_models_stay_text() -> None:
    labels = (HOSTILE, "dog")
    wrong = Scripted([answer(0.2, 0.8), Failure(HOSTILE)], labels)
    wrong.name = HOSTILE
    given = [Sample(HOSTILE, gray(), HOSTILE), Sample(f"{HOSTILE}2", gray(), "dog")]
    page = render(evaluate(given, wrong, source=HOSTILE))
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") > 8


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Page]:  # noqa: F811
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda one: problems.append(one.url) if one.url[:5] not in LOCAL else None)
    yield page
    context.close()
    assert problems == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "many classes", "comparison", "comparison of many"])
def test_the_page_is_accessible_and_fits_a_phone(
    opened: Page, pages: dict[str, str], tmp_path: Path, name: str, scheme: str
) -> None:
    (tmp_path / "page.html").write_text(pages[name], encoding="utf-8")
    opened.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    opened.goto((tmp_path / "page.html").as_uri())
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    results = Axe().run(opened, options=rules)
    assert results.violations_count == 0, results.generate_report()
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert opened.evaluate(broken) == 0
