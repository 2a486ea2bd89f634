"""What is taken for which kind of data, and how a part of it is chosen."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from evaluation.errors import SourceError
from evaluation.sources import open_source, spread
from tests.evaluation.fakes import gray, write_files


def test_each_kind_is_known_by_what_it_is(tmp_path: Path) -> None:
    write_files(tmp_path, {"cat/a.png": gray()})
    (tmp_path / "set.csv").write_text("path,label\ncat/a.png,cat\n")
    with ZipFile(tmp_path / "set.ZIP", "w") as archive:
        archive.writestr("cat/a.png", gray())
    for path in (tmp_path, tmp_path / "set.csv", tmp_path / "set.ZIP"):
        with open_source(path) as source:
            assert [item.label for item in source.items] == ["cat"]


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_none_of_them_is_told(tmp_path: Path, labelled: bool) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="is none of what is read: a folder of"):
        open_source(tmp_path / "notes.txt", labelled=labelled)
    with pytest.raises(SourceError, match="there is nothing at this path"):
        open_source(tmp_path / "gone", labelled=labelled)


def test_outliers_need_no_classes(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": gray(), "deep/b.png": gray()})
    assert [item.label for item in open_source(tmp_path, labelled=False).items] == [None, None]


def test_a_part_is_spread_evenly_and_never_more_than_there_is() -> None:
    assert list(spread(10, 5)) == [0, 2, 4, 6, 8]
    assert list(spread(10, 3)) == [0, 3, 6]
    assert list(spread(3, 5)) == [0, 1, 2]
    assert list(spread(3, None)) == [0, 1, 2]
    assert len(set(spread(60_000, 59_999))) == 59_999
