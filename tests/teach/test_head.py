"""Tests of the linear head."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from calibration import apply
from teach import head
from teach.types import Floats, Indices
from tests.teach.examples import DIMENSIONS, features, others

EMPTY = np.empty((0, DIMENSIONS), np.float32)


def cluster(classes: int, images: int) -> tuple[Floats, Indices]:
    rows = [features(axis, seed, 0.3) for axis in range(classes) for seed in range(images)]
    return np.stack(rows), np.repeat(np.arange(classes), images)


@pytest.mark.parametrize("images", [5, 20])  # fewer and more images than features
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(classes: int, images: int) -> None:
    rows, truth = cluster(classes, images)
    trained = head.fit(rows, truth, classes, EMPTY, None)
    model = LogisticRegression(C=head.REGULARIZATION, max_iter=1000, tol=1e-6).fit(rows, truth)
    ours = apply.probabilities(trained.logits(rows), "logits")
    np.testing.assert_allclose(ours, model.predict_proba(rows), atol=0.01)


def test_background_raises_the_energy_of_other_images_only() -> None:
    rows, truth = cluster(2, 10)
    background = others(40)
    trained = head.fit(rows, truth, 2, background[::2], None)
    energies = [apply.ood_scores(trained.logits(each)) for each in (rows, background[1::2])]
    assert np.quantile(energies[0], 0.9) < np.quantile(energies[1], 0.1)
    assert (trained.logits(rows).argmax(axis=1) == truth).all()


def test_background_images_of_a_class_are_not_trained_as_other_images() -> None:
    rows, truth = cluster(2, 12)
    own = np.stack([features(axis, seed, 0.05) for axis in range(2) for seed in range(50, 60)])
    with_own = head.fit(rows, truth, 2, np.concatenate([others(40), own]), None)
    energies = [apply.ood_scores(with_own.logits(each)) for each in (own, others(60)[40:])]
    assert energies[0].max() < energies[1].min()


def test_distance_is_that_to_the_nearest_image() -> None:
    """A class of two kinds: its mean is no better than anything else."""
    kinds = [features(axis, seed) for axis in (0, 1) for seed in range(5)]
    rows = np.stack([*kinds, *(features(2, seed) for seed in range(10))])
    trained = head.fit(rows, np.repeat([0, 1], 10), 2, others(20), None)
    assert len(trained.centers) == 20
    np.testing.assert_allclose(trained.distances(rows), 0, atol=1e-5)
    new = np.stack([features(axis, 90) for axis in range(3)])
    assert trained.distances(new).max() < trained.distances(others(40)[20:]).min()


def test_centers_of_many_images_are_those_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "MAX_CENTERS", 8)
    monkeypatch.setattr(head, "_CLUSTERED", 20)
    kinds = [features(axis, seed) for axis in (0, 1) for seed in range(20)]
    rows = np.stack([*kinds, features(2, 0), features(2, 1)])
    trained = head.fit(rows, np.repeat([0, 1], [40, 2]), 2, others(20), None)
    assert len(trained.centers) == 4 + 2
    np.testing.assert_allclose(np.linalg.norm(trained.centers, axis=1), 1, atol=1e-5)
    new = np.stack([features(axis, 90) for axis in range(3)])
    assert trained.distances(new).max() < 0.5


def test_equal_features_make_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "MAX_CENTERS", 6)
    rows = np.repeat(np.stack([features(0, 0), features(1, 0)]), 5, axis=0)
    trained = head.fit(rows, np.repeat([0, 1], 5), 2, EMPTY, None)
    np.testing.assert_allclose(trained.distances(rows), 0, atol=1e-5)


def test_other_images_have_no_center() -> None:
    rows, truth = cluster(3, 5)
    trained = head.fit(rows, truth, 3, EMPTY, none_index=2)
    assert len(trained.centers) == 10
    distances = trained.distances(rows)
    assert distances[truth == 2].min() > distances[truth != 2].max()
