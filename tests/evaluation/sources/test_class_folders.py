"""Tests of class folders, their layout and their files."""

import os
from pathlib import Path

import pytest

from evaluation.errors import SourceError
from evaluation.sources import class_folders
from evaluation.sources.class_folders import find_images, open_folder
from evaluation.types import Sample, UnreadableSample
from tests.evaluation.fakes import gray_png, write_files


def labels_of(*paths: str) -> dict[str, str | None]:
    return {item.name: item.label for item in find_images("data", paths, labeled=True).items}


def test_first_folder_is_the_class_at_any_depth() -> None:
    assert labels_of("7/a.png", "9/deep/b.JPG") == {"7/a.png": "7", "9/deep/b.JPG": "9"}


def test_top_folder_above_all_classes_is_skipped() -> None:
    assert labels_of("digits/7/a.png", "digits/9/b.png") == {
        "digits/7/a.png": "7",
        "digits/9/b.png": "9",
    }


def test_single_class_folder_is_not_skipped() -> None:
    assert labels_of("7/a.png", "7/b.png") == {"7/a.png": "7", "7/b.png": "7"}


def test_hidden_files_are_ignored_without_a_note() -> None:
    layout = find_images(
        "data",
        ["7/a.png", "7/.DS_Store", ".git/x.png", "__MACOSX/7/._a.png", "7/.hidden.png"],
        labeled=True,
    )
    assert [item.name for item in layout.items] == ["7/a.png"]
    assert layout.notes == ()


def test_skipped_files_are_noted() -> None:
    layout = find_images("data", ["7/a.png", "7/inner.zip", "note.txt", "b.png"], labeled=True)
    assert layout.notes == (
        "files skipped (not images): 2",
        "images skipped (not in a class folder): 1",
    )


def test_unlabeled_images_are_found_in_any_folder() -> None:
    layout = find_images("data", ["b.png", "x/a.webp", "x/y.txt"], labeled=False)
    assert [(item.name, item.label) for item in layout.items] == [
        ("b.png", None),
        ("x/a.webp", None),
    ]


def test_documents_count_as_images_only_without_labels() -> None:
    paths = ["7/a.png", "7/scan.PDF", "7/clip.mov", "7/.hidden.pdf"]
    unlabeled = find_images("data", paths, labeled=False)
    assert [item.name for item in unlabeled.items] == ["7/a.png", "7/clip.mov", "7/scan.PDF"]
    assert [item.name for item in find_images("data", paths, labeled=True).items] == ["7/a.png"]


@pytest.mark.parametrize("labeled", [True, False])
def test_no_images_raise_source_error(labeled: bool) -> None:
    with pytest.raises(SourceError, match=r"^data contains no "):
        find_images("data", ["readme.txt"], labeled=labeled)


def test_folder_is_read_in_sorted_order(tmp_path: Path) -> None:
    write_files(tmp_path, {"dog/b.png": gray_png(2), "cat/a.png": gray_png(1)})
    samples = list(open_folder(tmp_path).samples())
    assert samples == [
        Sample("cat/a.png", gray_png(1), "cat"),
        Sample("dog/b.png", gray_png(2), "dog"),
    ]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    paths = ("in/cat/a.png", "out/secret.png", "out/dog/b.png")
    write_files(tmp_path, dict.fromkeys(paths, gray_png()))
    (tmp_path / "in/cat/leak.png").symlink_to(tmp_path / "out/secret.png")
    (tmp_path / "in/dog").symlink_to(tmp_path / "out/dog")
    (tmp_path / "in/cat/same.png").symlink_to(tmp_path / "in/cat/a.png")
    source = open_folder(tmp_path / "in")
    assert [item.name for item in source.items] == ["cat/a.png", "cat/same.png"]
    assert any("links skipped" in note and note.endswith(": 2") for note in source.notes)


def test_link_to_a_folder_can_be_opened(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/cat/a.png": gray_png()})
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert len(open_folder(tmp_path / "link")) == 1


def test_dangling_link_fails_individually(tmp_path: Path) -> None:
    write_files(tmp_path, {"cat/a.png": gray_png()})
    (tmp_path / "cat/b.png").symlink_to(tmp_path / "cat/gone.png")
    first, second = open_folder(tmp_path).samples()
    assert isinstance(first, Sample)
    assert second == UnreadableSample(
        "cat/b.png", "cat", "The file cannot be read: No such file or directory."
    )


def test_special_and_oversized_files_fail_individually(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"cat/a.png": gray_png(), "cat/b.png": gray_png()})
    source = open_folder(tmp_path)
    (tmp_path / "cat/a.png").unlink()
    os.mkfifo(tmp_path / "cat/a.png")
    monkeypatch.setattr(class_folders, "MAX_FILE_BYTES", 10)
    reasons = [one.reason for one in source.samples() if isinstance(one, UnreadableSample)]
    assert reasons == ["The path is not a regular file.", "The file is larger than 10 bytes."]


def test_folder_without_class_folders_raises_source_error(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": gray_png()})
    message = r"contains no class folders with images, such as 7/a\.png"
    with pytest.raises(SourceError, match=message):
        open_folder(tmp_path)


def test_name_that_is_not_utf_8_is_escaped_and_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"x\xff.png")
    write_files(tmp_path, {f"cat/{name}": gray_png()})
    assert list(open_folder(tmp_path).samples()) == [Sample(r"cat/x\xff.png", gray_png(), "cat")]


def test_circular_links_fail_individually(tmp_path: Path) -> None:
    write_files(tmp_path, {"cat/a.png": gray_png()})
    (tmp_path / "cat/b.png").symlink_to("b.png")
    (tmp_path / "cat/c.png").symlink_to("d.png")
    (tmp_path / "cat/d.png").symlink_to("c.png")
    first, *others = open_folder(tmp_path).samples()
    assert isinstance(first, Sample)
    reason = "The file cannot be read: Too many levels of symbolic links."
    assert others == [UnreadableSample(f"cat/{name}.png", "cat", reason) for name in "bcd"]


def test_unlabeled_images_of_a_history_export_are_skipped(tmp_path: Path) -> None:
    for folder in ("7", "none_of_these", "unlabeled"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.webp").write_bytes(b"")
    with open_folder(tmp_path) as source:
        assert [item.label for item in source.items] == ["7"]
        assert source.notes == ("images skipped (in none_of_these and unlabeled): 2",)
