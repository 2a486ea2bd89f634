"""Tests of the examples from folders, zips and history exports."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from teach.errors import TeachError
from teach.sources import SourceExamples, open_examples


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def read(path: Path) -> dict[str, str]:
    with open_examples(path) as source:
        examples = list(SourceExamples(source))
    assert all(each.content.endswith(each.name.encode()) for each in examples)
    return {each.name: each.label for each in examples}


FILES = ("a/1.png", "a/2.png", "b/1.png", "b/2.png")


def test_class_folders_become_labels(tmp_path: Path) -> None:
    assert read(write(tmp_path, *FILES)) == dict(zip(FILES, "aabb", strict=True))


@pytest.mark.parametrize("top", ["", "export/"])
@pytest.mark.parametrize("is_zip", [False, True])
def test_images_of_none_of_the_classes_are_a_class(tmp_path: Path, top: str, is_zip: bool) -> None:
    others = ("none_of_these/x.webp", "none_of_these/y.webp")
    names = [f"{top}{name}" for name in (*FILES, *others, "unlabeled/z.webp")]
    path = write(tmp_path / "folder", *names)
    if is_zip:
        path = tmp_path / "export.zip"
        with ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    labels = read(path)
    assert labels[f"{top}none_of_these/y.webp"] == "None of these"
    assert len(labels) == 6


@pytest.mark.parametrize("top", ["", "export/"])
def test_class_folders_without_images_are_noted(tmp_path: Path, top: str) -> None:
    write(tmp_path, *(f"{top}{name}" for name in (*FILES, "unlabeled/z.webp")))
    for name in ("empty", ".hidden", "none_of_these"):
        (tmp_path / top / name).mkdir()
    with open_examples(tmp_path) as source:
        assert source.notes[-1] == "class folders without images: empty"


def test_unreadable_file_has_no_content(tmp_path: Path) -> None:
    write(tmp_path, *FILES)
    (tmp_path / "a" / "3.png").symlink_to("missing.png")
    with open_examples(tmp_path) as source:
        examples = {each.name: each.content for each in SourceExamples(source)}
    assert examples["a/3.png"] == b""


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (FILES[:2], "All images are of one class, a"),
        (FILES[:3], "b has fewer than 2"),
        (["a/1.png", "a/2.png", "b\x07/1.png", "b\x07/2.png"], r"b\\x07 has characters"),
    ],
)
def test_sources_that_cannot_be_taught_are_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(TeachError, match=message):
        open_examples(write(tmp_path, *names))
