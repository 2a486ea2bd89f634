"""The table of all pictures, written and read back."""

from pathlib import Path

import pytest

from evaluation.errors import ReportError
from evaluation.records import COLUMNS, read_records, write_records
from evaluation.types import Record

FULL = Record("7/a.png", "7", "1", 0.75, 0.25, False, 2, True, -3.5, 1.5)
FAILED = Record('odd, "name"\n.png', None, error="It is damaged.")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_records(tmp_path / "p.csv", [FULL, FAILED])
    assert read_records(tmp_path / "p.csv") == [FULL, FAILED]
    header = (tmp_path / "p.csv").read_text().splitlines()[0]
    assert header == (
        "name,label,prediction,confidence,label_probability,in_prediction_set,set_size,"
        "in_distribution,ood_score,ms,error"
    )


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "'=1+1"])
def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path, text: str) -> None:
    records = [Record(text, text, text, ood_score=-1.5), Record("a.png", None, error=text)]
    write_records(tmp_path / "p.csv", records)
    first, second = (tmp_path / "p.csv").read_text().splitlines()[1:]
    assert first == f"'{text},'{text},'{text},,,,,,-1.5,,"
    assert second.endswith(f",'{text}")
    assert read_records(tmp_path / "p.csv") == records


def test_a_name_that_utf_8_cannot_hold_is_written_escaped(tmp_path: Path) -> None:
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
def test_what_is_no_such_table_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ReportError, match=r"p\.csv is (not the table of a report|damaged)"):
        read_records(tmp_path / "p.csv")


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read: No such file"):
        read_records(tmp_path / "p.csv")
