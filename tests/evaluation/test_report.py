"""Reports on disk."""

import csv
import json
from pathlib import Path

import pytest

from evaluation import report
from evaluation.compare import compare
from evaluation.errors import ReportError
from evaluation.evaluate import evaluate
from evaluation.results import Evaluation
from evaluation.types import Answer, Failure
from tests.evaluation.fakes import LABELS, Scripted, answer, samples


@pytest.fixture
def measured() -> Evaluation:
    given: list[Answer | Failure] = [
        answer(0.7, 0.2, 0.1),
        answer(0.6, 0.3, 0.1),
        Failure("damaged"),
        answer(0, 0, 1),
    ]
    return evaluate(
        samples("cat", "dog", "owl"), Scripted(given), source="pets", total=3,
        outliers=samples(None), outlier_source="walls",
    )  # fmt: skip


def test_the_json_has_every_figure(measured: Evaluation, tmp_path: Path) -> None:
    report.write(measured, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["model"] == {"name": "scripted", "version": "7", "labels": list(LABELS)}
    assert found["metrics"]["accuracy"] == 0.5
    assert found["metrics"]["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert [one["label"] for one in found["metrics"]["curves"]] == ["cat", "dog"]
    assert found["failures"]["reasons"] == {"damaged": 1}
    assert found["mistakes"][0]["name"] == "1.png"
    assert found["outliers"]["answered"] == 1
    assert found["prediction_sets"] is None


def test_the_table_has_a_line_for_every_picture(measured: Evaluation, tmp_path: Path) -> None:
    files = report.write(measured, tmp_path)
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["prediction"], row["error"]) for row in rows] == [
        ("cat", "cat", ""), ("dog", "cat", ""), ("owl", "", "damaged")
    ]  # fmt: skip
    assert (tmp_path / "outliers.csv").read_text().count("\n") == 2


def test_finished_reports_are_compared(measured: Evaluation, tmp_path: Path) -> None:
    report.write(measured, tmp_path)
    found = compare(report.read(tmp_path), report.read(tmp_path))
    assert (found.pictures, found.agreement) == (2, 1.0)
    assert found.labels == LABELS
    report.write_comparison(found, tmp_path / "both")
    written = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert written["only_a"] == []
    assert written["difference"] == [[0] * 3] * 3


@pytest.mark.parametrize("text", [None, "[]", "{", '{"model": 3}', '{"model": {"name": "a"}}'])
def test_what_is_no_report_is_told(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(ReportError, match=r"is no report|report\.json cannot be read"):
        report.read(tmp_path)


def test_a_report_that_cannot_be_written_is_told(measured: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(ReportError, match="cannot be written: Is a directory"):
        report.write(measured, tmp_path)
