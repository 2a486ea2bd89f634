"""Features of training images in a head, from which a new version starts."""

import numpy as np
import pytest

from teach.errors import TeachError
from teach.train import train
from teach.training_features import FEATURES, MAX_IMAGES, TARGETS, pack, read
from teach.types import TaughtModel
from tests.teach.examples import BACKBONE, classes, embed, example, features


def taught(images: int = 4) -> TaughtModel:
    return train(classes(["ant", "bee", "fly"], images), embed, BACKBONE, name="bugs")


def test_new_version_keeps_the_classes_of_which_it_has_no_new_image() -> None:
    old = taught()
    predecessor = read(old.manifest, old.head, BACKBONE)
    new = train(
        [example("bee", 7, seed) for seed in range(3)],
        embed,
        BACKBONE,
        name="bugs",
        predecessor=predecessor,
    )
    assert new.report.labels == ("ant", "bee", "fly")
    assert new.report.counts == (4, 7, 4)
    assert new.report.accuracy > 0.9
    assert all(suspect.index >= 0 for suspect in new.report.suspects)
    assert len(read(new.manifest, new.head, BACKBONE).labels) == 15


def test_corrected_training_image_has_its_new_class_only() -> None:
    old = taught()
    predecessor = read(old.manifest, old.head, BACKBONE)
    new = train(
        [example("ant", 1, 0)], embed, BACKBONE, name="bugs", predecessor=predecessor
    )  # image 0 of the bees
    assert new.report.counts == (5, 3, 4)


def test_stored_features_are_nearly_equal() -> None:
    original = np.abs(np.stack([features(n % 3, n) for n in range(6)]))
    original /= np.linalg.norm(original, axis=1, keepdims=True)
    tensors = pack(original, np.arange(6) % 3)
    stored = tensors[FEATURES].astype(np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    assert (stored * original).sum(axis=1).min() > 0.999


def test_classes_keep_equal_numbers_of_many_images() -> None:
    truth = np.array([0] * 1000 + [1] * 1000 + [2] * 50, np.intp)
    tensors = pack(np.ones((len(truth), 4), np.float32), truth)
    counts = np.bincount(tensors[TARGETS])
    assert counts.sum() == MAX_IMAGES
    assert counts.tolist() == [175, 175, 50]


def test_head_without_training_features_is_explained() -> None:
    old = taught()
    with pytest.raises(TeachError, match="does not contain the features"):
        read(old.manifest, b"", BACKBONE)
    other = {**old.manifest, "backbone": {"name": "photos", "sha256": "1" * 64}}
    with pytest.raises(TeachError, match="other weights of photos"):
        read(other, old.head, BACKBONE)
