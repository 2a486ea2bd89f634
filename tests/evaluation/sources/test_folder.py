"""Class folders on a disk."""

import os
from pathlib import Path

import pytest

from evaluation.errors import SourceError
from evaluation.sources import folder
from evaluation.sources.folder import open_folder
from evaluation.types import Sample, Unreadable
from tests.evaluation.fakes import gray, write_files


def test_pictures_come_in_order_with_their_class(tmp_path: Path) -> None:
    write_files(tmp_path, {"dog/b.png": gray(2), "cat/a.png": gray(1)})
    found = list(open_folder(tmp_path).samples())
    assert found == [Sample("cat/a.png", gray(1), "cat"), Sample("dog/b.png", gray(2), "dog")]


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"in/cat/a.png": gray(), "out/secret.png": gray(), "out/dog/b.png": gray()}
    )
    (tmp_path / "in/cat/leak.png").symlink_to(tmp_path / "out/secret.png")
    (tmp_path / "in/dog").symlink_to(tmp_path / "out/dog")
    (tmp_path / "in/cat/same.png").symlink_to(tmp_path / "in/cat/a.png")
    source = open_folder(tmp_path / "in")
    assert [item.name for item in source.items] == ["cat/a.png", "cat/same.png"]
    assert any("links left out" in note and note.endswith(": 2") for note in source.notes)


def test_a_source_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/cat/a.png": gray()})
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert len(open_folder(tmp_path / "link")) == 1


def test_a_link_that_leads_nowhere_fails_alone(tmp_path: Path) -> None:
    write_files(tmp_path, {"cat/a.png": gray()})
    (tmp_path / "cat/b.png").symlink_to(tmp_path / "cat/gone.png")
    first, second = open_folder(tmp_path).samples()
    assert isinstance(first, Sample)
    assert second == Unreadable(
        "cat/b.png", "cat", "The file cannot be read: No such file or directory."
    )


def test_what_is_no_file_or_too_large_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"cat/a.png": gray(), "cat/b.png": gray()})
    source = open_folder(tmp_path)
    (tmp_path / "cat/a.png").unlink()
    os.mkfifo(tmp_path / "cat/a.png")
    monkeypatch.setattr(folder, "MAX_BYTES", 10)
    reasons = [one.reason for one in source.samples() if isinstance(one, Unreadable)]
    assert reasons == ["This is not a file.", "The file is larger than 10 bytes."]


def test_a_folder_without_classes_is_a_clear_error(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": gray()})
    with pytest.raises(SourceError, match=r"holds no class folders with pictures, as 7/a\.png"):
        open_folder(tmp_path)


def test_a_name_that_is_not_utf_8_is_escaped_and_read(tmp_path: Path) -> None:
    odd = os.fsdecode(b"x\xff.png")
    write_files(tmp_path, {f"cat/{odd}": gray()})
    assert list(open_folder(tmp_path).samples()) == [Sample(r"cat/x\xff.png", gray(), "cat")]


def test_links_in_a_circle_fail_alone(tmp_path: Path) -> None:
    write_files(tmp_path, {"cat/a.png": gray()})
    (tmp_path / "cat/b.png").symlink_to("b.png")
    (tmp_path / "cat/c.png").symlink_to("d.png")
    (tmp_path / "cat/d.png").symlink_to("c.png")
    first, *others = open_folder(tmp_path).samples()
    assert isinstance(first, Sample)
    why = "The file cannot be read: Too many levels of symbolic links."
    assert others == [Unreadable(f"cat/{name}.png", "cat", why) for name in "bcd"]
