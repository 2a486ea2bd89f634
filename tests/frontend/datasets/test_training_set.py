"""The images of a model's future classes."""

import pytest

from frontend.datasets import dataset, training_set
from frontend.datasets.training_set import TrainingSet, TrainingSetError, add_dataset
from tests.frontend.datasets.test_dataset import SentFile
from tests.frontend.fake_client import image_files
from tests.images import SEVEN, zipped


def letters() -> TrainingSet:
    images = TrainingSet()
    images.add("a", image_files("a1", "a2"))
    images.add("b", image_files("b1", "b2"))
    return images


def names(images: TrainingSet, label: str) -> list[str]:
    return [image.file.name for image in images.images(label)]


def test_image_belongs_to_the_last_class_to_which_it_was_added() -> None:
    images = letters()
    assert images.add("b", image_files("a1", "b3")) == 1
    assert names(images, "a") == ["a2.png"]
    assert sorted(names(images, "b")) == ["a1.png", "b1.png", "b2.png", "b3.png"]


def test_image_is_relabeled_and_removed() -> None:
    images = letters()
    digest = images.images("a")[0].file.digest
    images.relabel(digest, "b")
    assert (len(names(images, "a")), len(names(images, "b"))) == (1, 3)
    images.remove(digest)
    images.relabel(digest, "a")  # by another session, which still shows it
    assert images.find(digest) is None


def test_renamed_class_keeps_its_images() -> None:
    images = letters()
    assert images.rename_class("a", "  the  ant ") == "the ant"
    assert images.labels == ("b", "the ant")
    images.rename_class("b", "the ant")
    assert len(names(images, "the ant")) == 4


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "a\u202eb", "x" * 101])
def test_unusable_class_name_is_rejected(name: str) -> None:
    images = letters()
    with pytest.raises(TrainingSetError):
        images.rename_class("a", name)
    assert len(names(images, "a")) == 2


def test_missing_classes_and_images_are_named() -> None:
    images = TrainingSet()
    assert images.missing() == "Add at least 2 classes."
    images.add("a", image_files("a1", "a2"))
    images.add("b", image_files("b1"))
    assert images.missing() == "Each class needs at least 2 images: add some to “b”."
    images.add("b", image_files("b2"))
    assert images.missing() is None


def test_limits_reject_images_and_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    images = letters()
    monkeypatch.setattr(training_set, "MAX_IMAGES", 5)
    with pytest.raises(TrainingSetError, match="would be 6"):
        images.add("a", image_files("a3", "a4"))
    monkeypatch.setattr(training_set, "MAX_CLASSES", 2)
    with pytest.raises(TrainingSetError, match="at most 2 classes"):
        images.add_class("c")
    assert len(images.images()) == 4


def test_dataset_adds_its_classes_and_reports_what_was_there() -> None:
    images = TrainingSet()
    content = zipped({"7/a.png": SEVEN, "7/copy.png": SEVEN, "1/b.png": b"b"})
    data = dataset.store_zip(SentFile("digits.zip", content))
    add_dataset(images, data)
    assert add_dataset(images, data)[-1] == "images that were already there: 2"
    data.close()
    assert images.labels == ("1", "7")
    assert len(images.images()) == 2


def test_dataset_with_too_many_classes_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_set, "MAX_CLASSES", 2)
    data = dataset.store_zip(SentFile("d.zip", zipped({f"{i}/a.png": SEVEN for i in range(3)})))
    with data.source, pytest.raises(TrainingSetError, match="has 3 class folders"):
        add_dataset(TrainingSet(), data)
    data.close()
