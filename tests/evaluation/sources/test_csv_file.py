"""A CSV of paths and labels."""

from pathlib import Path

import pytest

from evaluation.errors import SourceError
from evaluation.sources.csv_file import open_table
from evaluation.types import Sample, Unreadable
from tests.evaluation.fakes import gray, write_files


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    write_files(folder, {"set/a.png": gray(1), "set/x/b.png": gray(2), "out.png": gray(3)})
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
def test_pictures_and_labels_are_read_as_people_write_them(tmp_path: Path, text: str) -> None:
    found = list(open_table(table(tmp_path, text, "utf-8-sig")).samples())
    assert found == [Sample("a.png", gray(1), "cat"), Sample("x/b.png", gray(2), "dog")]


def test_quoted_names_may_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    source = open_table(table(tmp_path, 'path,label\n"a.png","cat,\nbig"\n'))
    assert source.items[0].label == "cat,\nbig"


def test_a_missing_file_fails_alone(tmp_path: Path) -> None:
    source = open_table(table(tmp_path, "path,label\ngone.png,cat\na.png,cat\n"))
    first, second = source.samples()
    assert isinstance(first, Unreadable)
    assert "No such file" in first.reason
    assert isinstance(second, Sample)


@pytest.mark.parametrize("path", ["../out.png", "x/../../out.png", "/etc/hostname", "link.png"])
def test_a_path_that_leads_out_is_refused_with_its_line(tmp_path: Path, path: str) -> None:
    file = table(tmp_path, f"path,label\na.png,cat\n{path},cat\n")
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "out.png")
    with pytest.raises(SourceError, match=r"labels\.csv, line 3: .* leads out of the folder"):
        open_table(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column is called path"),
        ("a.png,cat\n", "no column is called path"),
        ("path,kind\na.png,cat\n", "no column is called label"),
        ("path,label\n", "holds no line below its header"),
        ("path,label\na.png\n", "line 2: 1 columns, but the header has 2"),
        ("path,label\na.png,\n", "line 2: the label is empty"),
        ("path,label\n,cat\n", "line 2: the path is empty"),
        ("path,label\na.png,cat\na.png,cat\n", "line 3: a.png stands there twice"),
        (
            "path,label\na.png,cat\na.png,dog\n",
            "line 3: a.png stands there twice, with the labels 'cat' and 'dog'",
        ),
        (
            "path,label\na.png,cat\n./a.png,cat\n",
            "line 3: ./a.png stands there twice, before as a.png",
        ),
        (
            "path,label\nx/../a.png,cat\n.//a.png,dog\n",
            "line 3: .//a.png stands there twice, before as x/../a.png, "
            "with the labels 'cat' and 'dog'",
        ),
        ("path,label\na\0.png,cat\n", r"line 2: 'a\x00.png' has a NUL in it, as no path has"),
        ('path,label\n"a.png,cat\n', "is not a CSV"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_table(table(tmp_path, text))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_of_another_encoding_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not text in UTF-8"):
        open_table(table(tmp_path, "path,label\na.png,Käse\n", "latin-1"))


def test_a_link_in_a_circle_fails_alone(tmp_path: Path) -> None:
    file = table(tmp_path, "path,label\nround.png,cat\na.png,cat\n")
    (tmp_path / "set" / "round.png").symlink_to("round.png")
    first, second = open_table(file).samples()
    assert isinstance(first, Unreadable)
    assert "Too many levels of symbolic links" in first.reason
    assert isinstance(second, Sample)


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\x0c", "\x1e"])
def test_only_line_breaks_end_a_line(tmp_path: Path, odd: str) -> None:
    file = table(tmp_path, f"path,label\rx{odd}y.png,cat\ra.png,dog\r")
    write_files(tmp_path, {f"set/x{odd}y.png": gray(4)})
    found = list(open_table(file).samples())
    assert found == [Sample(f"x{odd}y.png", gray(4), "cat"), Sample("a.png", gray(1), "dog")]
