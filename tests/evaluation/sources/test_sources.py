"""Tests of opening sources by path, and of selecting images."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from evaluation.errors import SourceError
from evaluation.sources import open_source
from evaluation.sources.base import evenly_spaced
from tests.evaluation.fakes import gray_png, write_files


def test_kind_of_source_is_detected(tmp_path: Path) -> None:
    write_files(tmp_path, {"cat/a.png": gray_png()})
    (tmp_path / "set.csv").write_text("path,label\ncat/a.png,cat\n")
    with ZipFile(tmp_path / "set.ZIP", "w") as archive:
        archive.writestr("cat/a.png", gray_png())
    for path in (tmp_path, tmp_path / "set.csv", tmp_path / "set.ZIP"):
        with open_source(path) as source:
            assert [item.label for item in source.items] == ["cat"]


@pytest.mark.parametrize("labeled", [True, False])
def test_unsupported_or_missing_path_raises_source_error(tmp_path: Path, labeled: bool) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="is not a supported source; expected a folder or zip of"):
        open_source(tmp_path / "notes.txt", labeled=labeled)
    with pytest.raises(SourceError, match="does not exist"):
        open_source(tmp_path / "gone", labeled=labeled)


def test_unlabeled_source_needs_no_class_folders(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": gray_png(), "deep/b.png": gray_png()})
    assert [item.label for item in open_source(tmp_path, labeled=False).items] == [None, None]


def test_indices_are_evenly_spaced_and_at_most_count() -> None:
    assert list(evenly_spaced(10, 5)) == [0, 2, 4, 6, 8]
    assert list(evenly_spaced(10, 3)) == [0, 3, 6]
    assert list(evenly_spaced(3, 5)) == [0, 1, 2]
    assert list(evenly_spaced(3, None)) == [0, 1, 2]
    assert len(set(evenly_spaced(60_000, 59_999))) == 59_999
