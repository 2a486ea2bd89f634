"""Photographs are split into parts without common images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.sources import open_source
from tests.training.small_photos import SPEC, write_photographs
from training.data.photographs import DatasetError, LabeledPhotographs, read_photographs


def read(folder: Path, held_out: float = 0.2, seed: int = 0) -> LabeledPhotographs:
    with open_source(folder) as source:
        return read_photographs(source, SPEC, held_out, seed)


def test_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    data = read(write_photographs(tmp_path), held_out=0.25)
    assert data.labels == ("green", "red")
    assert list(np.bincount(data.test_truth)) == [3, 3]
    assert list(np.bincount(data.train_truth)) == [7, 7]
    train, test = ({row.tobytes() for row in rows} for rows in (data.train_rows, data.test_rows))
    assert len(train | test) == 20
    assert {image.size for image in data.train_images} == {(53, 40)}


def test_split_depends_on_the_seed_only(tmp_path: Path) -> None:
    first, again, other = (
        read(write_photographs(tmp_path / f"{n}"), seed=n // 2) for n in (0, 1, 2)
    )
    np.testing.assert_array_equal(first.test_rows, again.test_rows)
    assert not np.array_equal(first.test_rows, other.test_rows)


def test_duplicates_and_files_that_are_no_images_are_left_out(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    (tmp_path / "red" / "copy.png").write_bytes((tmp_path / "red" / "0.png").read_bytes())
    (tmp_path / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    data = read(tmp_path)
    assert (len(data.train_truth) + len(data.test_truth), data.duplicates) == (20, 1)
    assert "1 duplicates are left out; 1 files are no usable images (red/broken.png)" in (
        data.describe()
    )


def test_image_with_two_labels_is_an_error(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    (tmp_path / "red" / "copy.png").write_bytes((tmp_path / "green" / "0.png").read_bytes())
    with pytest.raises(DatasetError, match="are the same image, labeled 'green' and 'red'"):
        read(tmp_path)


def test_too_few_images_are_an_error(tmp_path: Path) -> None:
    write_photographs(tmp_path / "few", count=4)
    with pytest.raises(DatasetError, match=r"needs 5 images of each class.*'green', 'red'"):
        read(tmp_path / "few")
    (tmp_path / "one" / "red").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "one" / "red" / "0.png")
    with pytest.raises(DatasetError, match="fewer than two classes"):
        read(tmp_path / "one")
