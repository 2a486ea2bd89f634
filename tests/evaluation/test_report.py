"""Tests of reports on disk."""

import csv
import json
from pathlib import Path

import pytest

from evaluation import report
from evaluation.compare import compare
from evaluation.errors import ReportError
from evaluation.evaluate import evaluate
from evaluation.report import COLUMNS, read_records, write_records
from evaluation.results import Evaluation
from evaluation.types import Failure, ModelOutput, Record
from tests.evaluation.fakes import LABELS, FakePredictor, model_output, samples

COMPLETE = Record("7/a.png", "7", "1", 0.75, 0.25, False, 2, True, -3.5, 1.5)
FAILED = Record('odd, "name"\n.png', None, error="It is damaged.")


@pytest.fixture
def evaluation() -> Evaluation:
    results: list[ModelOutput | Failure] = [
        model_output(0.7, 0.2, 0.1),
        model_output(0.6, 0.3, 0.1),
        Failure("damaged"),
        model_output(0, 0, 1),
    ]
    return evaluate(
        samples("cat", "dog", "owl"), FakePredictor(results), source="pets", total=3,
        outliers=samples(None), outlier_source="walls",
    )  # fmt: skip


def test_json_has_all_metrics(evaluation: Evaluation, tmp_path: Path) -> None:
    report.write(evaluation, tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["model"] == {"name": "fake", "version": "7", "labels": list(LABELS)}
    assert content["metrics"]["accuracy"] == 0.5
    assert content["metrics"]["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert [curve["label"] for curve in content["metrics"]["curves"]] == ["cat", "dog"]
    assert content["failures"]["reasons"] == {"damaged": 1}
    assert content["mistakes"][0]["name"] == "1.png"
    assert content["outliers"]["answered"] == 1
    assert content["prediction_sets"] is None


def test_csv_has_a_row_per_image(evaluation: Evaluation, tmp_path: Path) -> None:
    files = report.write(evaluation, tmp_path)
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["prediction"], row["error"]) for row in rows] == [
        ("cat", "cat", ""), ("dog", "cat", ""), ("owl", "", "damaged")
    ]  # fmt: skip
    assert (tmp_path / "outliers.csv").read_text().count("\n") == 2


def test_finished_reports_can_be_compared(evaluation: Evaluation, tmp_path: Path) -> None:
    report.write(evaluation, tmp_path)
    comparison = compare(report.read(tmp_path), report.read(tmp_path))
    assert (comparison.image_count, comparison.agreement) == (2, 1.0)
    assert comparison.labels == LABELS
    report.write_comparison(comparison, tmp_path / "both")
    content = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert content["pictures"] == 2
    assert content["only_a"] == []
    assert content["difference"] == [[0] * 3] * 3


@pytest.mark.parametrize("text", [None, "[]", "{", '{"model": 3}', '{"model": {"name": "a"}}'])
def test_missing_or_damaged_report_raises_report_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(ReportError, match=r"is not a report|report\.json cannot be read"):
        report.read(tmp_path)


def test_unwritable_report_raises_report_error(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(ReportError, match="cannot be written: Is a directory"):
        report.write(evaluation, tmp_path)


def test_records_are_written_and_read_back(tmp_path: Path) -> None:
    write_records(tmp_path / "p.csv", [COMPLETE, FAILED])
    assert read_records(tmp_path / "p.csv") == [COMPLETE, FAILED]
    header = (tmp_path / "p.csv").read_text().splitlines()[0]
    assert header == (
        "name,label,prediction,confidence,label_probability,in_prediction_set,set_size,"
        "in_distribution,ood_score,ms,error"
    )


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "'=1+1"])
def test_formulas_in_records_are_escaped(tmp_path: Path, text: str) -> None:
    records = [Record(text, text, text, ood_score=-1.5), Record("a.png", None, error=text)]
    write_records(tmp_path / "p.csv", records)
    first, second = (tmp_path / "p.csv").read_text().splitlines()[1:]
    assert first == f"'{text},'{text},'{text},,,,,,-1.5,,"
    assert second.endswith(f",'{text}")
    assert read_records(tmp_path / "p.csv") == records


def test_unencodable_name_in_records_is_escaped(tmp_path: Path) -> None:
    write_records(tmp_path / "p.csv", [Record("\ud83d.png", "7", "7")])
    assert read_records(tmp_path / "p.csv") == [Record(r"\ud83d.png", "7", "7")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name,label\na,b\n",
        ",".join(COLUMNS) + "\na,b\n",
        ",".join(COLUMNS) + "\na,7,7,much,,,,,,,\n",
        ",".join(COLUMNS) + "\na,7,7,,,perhaps,,,,,\n",
        ",".join(COLUMNS) + "\na,7,7,,,,,,,,,,,\n",
    ],
)
def test_invalid_records_file_raises_report_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ReportError, match=r"p\.csv is (not the CSV file of a report|damaged)"):
        read_records(tmp_path / "p.csv")


def test_missing_records_file_raises_report_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read: No such file"):
        read_records(tmp_path / "p.csv")
