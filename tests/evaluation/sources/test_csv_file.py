"""Tests of CSV files of paths and labels."""

from pathlib import Path

import pytest

from evaluation.errors import SourceError
from evaluation.sources.csv_file import open_csv
from evaluation.types import Sample, UnreadableSample
from tests.evaluation.fakes import gray_png, write_files


def write_csv(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    write_files(
        folder, {"set/a.png": gray_png(1), "set/x/b.png": gray_png(2), "out.png": gray_png(3)}
    )
    path = folder / "set" / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,cat\nx/b.png,dog\n",
        "Label;File\r\ncat;a.png\r\ndog;x/b.png\r\n\r\n",
        "image\tindex\tclass\na.png\t1\tcat\nx/b.png\t2\tdog",
    ],
)
def test_delimiters_and_column_names_are_detected(tmp_path: Path, text: str) -> None:
    samples = list(open_csv(write_csv(tmp_path, text, "utf-8-sig")).samples())
    assert samples == [Sample("a.png", gray_png(1), "cat"), Sample("x/b.png", gray_png(2), "dog")]


def test_quoted_labels_may_contain_commas_and_line_breaks(tmp_path: Path) -> None:
    source = open_csv(write_csv(tmp_path, 'path,label\n"a.png","cat,\nbig"\n'))
    assert source.items[0].label == "cat,\nbig"


def test_missing_file_fails_individually(tmp_path: Path) -> None:
    source = open_csv(write_csv(tmp_path, "path,label\ngone.png,cat\na.png,cat\n"))
    first, second = source.samples()
    assert isinstance(first, UnreadableSample)
    assert "No such file" in first.reason
    assert isinstance(second, Sample)


@pytest.mark.parametrize("path", ["../out.png", "x/../../out.png", "/etc/hostname", "link.png"])
def test_path_that_leads_out_is_rejected_with_its_line(tmp_path: Path, path: str) -> None:
    file = write_csv(tmp_path, f"path,label\na.png,cat\n{path},cat\n")
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "out.png")
    with pytest.raises(SourceError, match=r"labels\.csv, line 3: .* leads out of the folder"):
        open_csv(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no column 'path'"),
        ("a.png,cat\n", "has no column 'path'"),
        ("path,kind\na.png,cat\n", "has no column 'label'"),
        ("path,label\n", "has no rows below its header"),
        ("path,label\na.png\n", "line 2: 1 columns, but the header has 2"),
        ("path,label\na.png,\n", "line 2: the label is empty"),
        ("path,label\n,cat\n", "line 2: the path is empty"),
        ("path,label\na.png,cat\na.png,cat\n", "line 3: a.png is listed twice"),
        (
            "path,label\na.png,cat\na.png,dog\n",
            "line 3: a.png is listed twice, with the labels 'cat' and 'dog'",
        ),
        (
            "path,label\na.png,cat\n./a.png,cat\n",
            "line 3: ./a.png is listed twice, first as a.png",
        ),
        (
            "path,label\nx/../a.png,cat\n.//a.png,dog\n",
            "line 3: .//a.png is listed twice, first as x/../a.png, "
            "with the labels 'cat' and 'dog'",
        ),
        ("path,label\na\0.png,cat\n", r"line 2: 'a\x00.png' contains a NUL character"),
        ('path,label\n"a.png,cat\n', "is not a valid CSV file"),
    ],
)
def test_invalid_csv_raises_source_error(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_csv(write_csv(tmp_path, text))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_encoding_raises_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not encoded as UTF-8"):
        open_csv(write_csv(tmp_path, "path,label\na.png,Käse\n", "latin-1"))


def test_circular_link_fails_individually(tmp_path: Path) -> None:
    file = write_csv(tmp_path, "path,label\nround.png,cat\na.png,cat\n")
    (tmp_path / "set" / "round.png").symlink_to("round.png")
    first, second = open_csv(file).samples()
    assert isinstance(first, UnreadableSample)
    assert "Too many levels of symbolic links" in first.reason
    assert isinstance(second, Sample)


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\x0c", "\x1e"])
def test_only_line_breaks_end_a_row(tmp_path: Path, odd: str) -> None:
    file = write_csv(tmp_path, f"path,label\rx{odd}y.png,cat\ra.png,dog\r")
    write_files(tmp_path, {f"set/x{odd}y.png": gray_png(4)})
    samples = list(open_csv(file).samples())
    assert samples == [
        Sample(f"x{odd}y.png", gray_png(4), "cat"),
        Sample("a.png", gray_png(1), "dog"),
    ]
