"""Metrics and ground truth of multi-label models."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from evaluation.errors import LabelError
from evaluation.evaluate import evaluate
from evaluation.ground_truth import match_labels
from evaluation.html import render_report
from evaluation.label_metrics import measure_labels
from evaluation.label_sets import join_labels, split_labels
from evaluation.report import to_json_object
from evaluation.sources import open_source
from evaluation.sources.base import Item, Source
from evaluation.summary import summarize_evaluation
from evaluation.types import Sample
from tests.evaluation.fakes import LABELS, FakePredictor, gray_png, model_output

TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], np.bool_)
SHARES = np.array([[0.9, 0.2, 0.1], [0.4, 0.8, 0.1], [0.6, 0.7, 0.2], [0.1, 0.3, 0.1]], np.float32)


class SetPredictor(FakePredictor):
    task = "multi-label"


def test_metrics_equal_those_of_scikit_learn() -> None:
    decisions = SHARES >= 0.5
    metrics = measure_labels(LABELS, SHARES, decisions, TRUTH)
    expected = np.mean([average_precision_score(TRUTH[:, k], SHARES[:, k]) for k in (0, 1)])
    assert metrics.mean_average_precision == pytest.approx(expected)
    assert metrics.macro is not None
    assert metrics.macro.f1 == pytest.approx(
        f1_score(TRUTH[:, :2], decisions[:, :2], average="macro")
    )
    assert metrics.micro.f1 == pytest.approx(f1_score(TRUTH, decisions, average="micro"))
    assert metrics.exact_match == 0.5
    cat, dog, owl = metrics.classes
    assert (cat.precision, cat.recall, cat.f1, cat.support) == (0.5, 0.5, 0.5, 2)
    assert (dog.precision, dog.recall, dog.f1, dog.support) == (1, 1, 1, 2)
    assert (owl.average_precision, owl.precision, owl.recall, owl.f1, owl.support) == (
        None, None, None, None, 0,
    )  # fmt: skip


def test_sets_of_labels_are_evaluated() -> None:
    results = [
        model_output(*row, labels=tuple(np.array(LABELS)[row >= 0.5].tolist())) for row in SHARES
    ]
    truth = ["cat", "dog;cat", "dog", ""]
    samples = (Sample(f"{i}.png", gray_png(), label) for i, label in enumerate(truth))
    evaluation = evaluate(samples, SetPredictor(results), source="data")
    assert evaluation.metrics is None
    assert evaluation.label_metrics == measure_labels(LABELS, SHARES, SHARES >= 0.5, TRUTH)
    assert [record.prediction for record in evaluation.records] == ["cat", "dog", "cat;dog", ""]
    assert [record.is_correct for record in evaluation.records] == [True, False, False, True]
    text = summarize_evaluation(evaluation)
    assert "mean average precision" in text
    assert "exact match" in text
    assert "Metrics by label" in render_report(evaluation)
    assert to_json_object(evaluation)["label_metrics"]["exact_match"] == 0.5


def test_unknown_label_of_a_set_raises_label_error() -> None:
    samples = iter([Sample("a.png", gray_png(), "cat;bird")])
    with pytest.raises(LabelError, match="bird"):
        evaluate(samples, SetPredictor([model_output(1, 0, 0, labels=("cat",))]))


def test_sets_are_split_at_semicolons_and_bars() -> None:
    assert split_labels(" dog | cat;dog; ") == ("dog", "cat")
    assert split_labels("no_labels") == ()
    assert join_labels(["owl", "cat", "owl"], LABELS) == "cat;owl"


def test_csv_has_several_labels_or_none(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("path,labels\na.png,Owl|cat\nb.png,\n")
    with open_source(tmp_path / "data.csv") as source:
        matched = match_labels(source, LABELS, several=True)
    assert [item.label for item in matched.items] == ["cat;owl", ""]


def test_labels_with_separators_are_refused() -> None:
    source = Source("x", [Item("a.png", "a")], lambda _: b"")
    with pytest.raises(LabelError, match="semicolon"):
        match_labels(source, ("a;b", "a"), several=True)
