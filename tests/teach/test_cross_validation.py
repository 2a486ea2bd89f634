"""Tests of the cross-validation."""

import numpy as np
import pytest

from teach.cross_validation import HeldOut, cross_validate, find_near_duplicates
from teach.types import Floats, Indices
from tests.teach.examples import DIMENSIONS, features, others

EMPTY = np.empty((0, DIMENSIONS), np.float32)


def run(rows: Floats, truth: Indices, background: Floats = EMPTY) -> HeldOut:
    return cross_validate(rows, truth, int(truth.max()) + 1, background, None, lambda share: None)


@pytest.mark.parametrize("images", [2, 7, 60])
def test_separable_classes_are_predicted_from_other_images(images: int) -> None:
    rows = np.stack([features(axis, seed) for axis in range(3) for seed in range(images)])
    truth = np.repeat(np.arange(3), images)
    assert (run(rows, truth).logits.argmax(axis=1) == truth).all()


def test_random_labels_are_not_learned() -> None:
    rows = np.stack([features(0, seed, 0.3) for seed in range(80)])
    truth = np.random.default_rng(0).permutation(np.repeat([0, 1], 40))
    accuracy = (run(rows, truth).logits.argmax(axis=1) == truth).mean()
    assert accuracy < 0.7


def test_class_of_two_images_beside_a_large_one_is_always_trained() -> None:
    rows = np.stack([features(0, n) for n in range(30)] + [features(1, n) for n in range(2)])
    truth = np.repeat([0, 1], [30, 2])
    assert (run(rows, truth).logits.argmax(axis=1) == truth).all()


def test_background_images_are_held_out_too() -> None:
    rows = np.stack([features(axis, seed) for axis in range(2) for seed in range(5)])
    held_out = run(rows, np.repeat([0, 1], 5), others(12))
    assert held_out.background_logits.shape == (12, 2)
    assert held_out.background_distances.min() > held_out.distances.max()


def test_nearly_equal_images_of_a_class_form_a_group() -> None:
    rows = np.stack([features(0, 1, 0.01), features(0, 2, 0.01), features(1, 0), features(0, 3, 1)])
    groups = find_near_duplicates(rows, np.array([0, 0, 0, 0]))
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 3
    assert len(set(find_near_duplicates(rows, np.array([0, 1, 0, 0])).tolist())) == 4


def test_frames_of_one_recording_are_not_in_training_and_test() -> None:
    """Two recordings of each class, in other places: random folds would look perfect."""
    rng = np.random.default_rng(0)
    places = rng.normal(0, 1, (8, DIMENSIONS))
    frames = np.repeat(places, 10, axis=0) + rng.normal(0, 0.01, (80, DIMENSIONS))
    rows = (frames / np.linalg.norm(frames, axis=1, keepdims=True)).astype(np.float32)
    truth = np.repeat([0, 1], 40)
    held_out = run(rows, truth)
    assert not held_out.is_optimistic
    assert (held_out.logits.argmax(axis=1) == truth).mean() < 0.9


def test_single_recording_per_class_is_reported_as_optimistic() -> None:
    rows = np.stack([features(axis, n, 0.01) for axis in range(2) for n in range(6)])
    assert run(rows, np.repeat([0, 1], 6)).is_optimistic
