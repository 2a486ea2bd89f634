"""HTML reports of random data, with names that contain markup."""

import numpy as np

from evaluation.compare import Comparison, ModelRecords, compare
from evaluation.evaluate import evaluate
from evaluation.html import render_comparison, render_report
from evaluation.results import Evaluation
from evaluation.thumbnails import create_thumbnail_uri
from evaluation.types import Failure
from tests.evaluation.fakes import LABELS, FakePredictor, gray_png, model_output, samples

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


def create_comparison(labels: tuple[str, ...] = LABELS, count: int = 60) -> Comparison:
    sides = [
        ModelRecords(name, labels, create_evaluation(seed, labels, count).records)
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


def render_pages() -> dict[str, str]:
    """Return pages of reports and comparisons with few and with many classes, by name."""
    many = tuple(f"class {n}" for n in range(40))
    return {
        "report": render_report(create_evaluation(1)),
        "many classes": render_report(create_evaluation(2, many, 200)),
        "comparison": render_comparison(create_comparison()),
        "comparison, many classes": render_comparison(create_comparison(many, 200)),
    }
