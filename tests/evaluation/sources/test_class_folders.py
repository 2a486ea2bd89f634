"""Which paths are pictures of which class."""

import pytest

from evaluation.errors import SourceError
from evaluation.sources.class_folders import arrange


def labels(*paths: str) -> dict[str, str | None]:
    return {item.name: item.label for item in arrange("data", paths, labelled=True).items}


def test_the_first_folder_is_the_class_however_deep_the_picture_lies() -> None:
    assert labels("7/a.png", "9/deep/b.JPG") == {"7/a.png": "7", "9/deep/b.JPG": "9"}


def test_one_common_folder_above_the_classes_is_passed_over() -> None:
    assert labels("digits/7/a.png", "digits/9/b.png") == {
        "digits/7/a.png": "7",
        "digits/9/b.png": "9",
    }


def test_a_single_class_is_not_taken_for_a_common_folder() -> None:
    assert labels("7/a.png", "7/b.png") == {"7/a.png": "7", "7/b.png": "7"}


def test_what_systems_leave_behind_is_passed_over_in_silence() -> None:
    found = arrange(
        "data",
        ["7/a.png", "7/.DS_Store", ".git/x.png", "__MACOSX/7/._a.png", "7/.hidden.png"],
        labelled=True,
    )
    assert [item.name for item in found.items] == ["7/a.png"]
    assert found.notes == ()


def test_what_else_is_left_out_is_told() -> None:
    found = arrange("data", ["7/a.png", "7/inner.zip", "note.txt", "b.png"], labelled=True)
    assert found.notes == (
        "files left out, not pictures: 2",
        "pictures left out, in no class folder: 1",
    )


def test_without_labels_every_picture_counts() -> None:
    found = arrange("data", ["b.png", "x/a.webp", "x/y.txt"], labelled=False)
    assert [(item.name, item.label) for item in found.items] == [
        ("b.png", None),
        ("x/a.webp", None),
    ]


@pytest.mark.parametrize("labelled", [True, False])
def test_no_pictures_is_a_clear_error(labelled: bool) -> None:
    with pytest.raises(SourceError, match=r"^data holds no "):
        arrange("data", ["readme.txt"], labelled=labelled)
