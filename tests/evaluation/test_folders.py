"""Where reports go."""

from pathlib import Path

import pytest

from evaluation.errors import ReportError
from evaluation.folders import new_folder


def test_without_a_name_each_report_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        with new_folder(None, "http://host/#a b") as folder:
            (folder / "report.json").touch()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert all(name.startswith("evaluation-http-host-a-b-") for name in names)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").touch()
    with pytest.raises(ReportError, match="is not empty; name another"), new_folder(tmp_path, "m"):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ReportError, match="cannot be made: Not a directory"),
        new_folder(tmp_path / "file" / "x", "m"),
    ):
        pass


def test_a_folder_in_which_nothing_came_to_lie_goes_again(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        with pytest.raises(KeyError), new_folder(tmp_path / name, "m"):
            raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
